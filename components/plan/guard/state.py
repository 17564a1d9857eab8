"""What the guard knows of a cluster: plain data that one update leaves for the next, with nothing secret in it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..authorities import AuthorityPlan
from ..flag_values import OURS
from ..flags import OWN_ELECTION_MS, OWN_HEARTBEAT_MS
from ..origin import EXISTS, Origin
from ..spec import ClusterPlan, member_specs

FORMAT = 1
MADE = "made"
"""Stands for the certificate of an authority that the program makes itself."""
HEARTBEAT, ELECTION = "--heartbeat-interval", "--election-timeout"
TLS_LEAST, TLS_MOST, TLS_SUITES = "--tls-min-version", "--tls-max-version", "--cipher-suites"

# They hold the member's own name or directory, which have rules of their own.
_OWN_FLAGS = ("--name", "--data-dir")
_ANY_ADDRESS = "192.0.2.1"
"""Stands for the member's own address in its flags, so that they do not differ with who is the first member."""


@dataclass(frozen=True)
class State:
    """A cluster as an update leaves it, or as it is wanted."""

    cluster: str
    """Name of the cluster."""
    version: str
    """Release of etcd, `X.Y.Z`."""
    members: Mapping[str, str]
    """Member -> private address, in the order of the list."""
    data_directories: Mapping[str, str]
    """Member -> directory of its data."""
    generations: Mapping[str, int] = field(default_factory=dict)
    """Slot -> how many machines have filled it on purpose; slots of machines that exist already are not in it."""
    identities: Mapping[str, str] = field(default_factory=dict)
    """Slot -> text that differs when its machine does, where that is known before the update."""
    trusted: Mapping[str, str] = field(default_factory=lambda: {"1": MADE})
    """Authority that members and clients trust -> fingerprint of its certificate, `made`, or empty: not known."""
    issuer: str = "1"
    """The authority that issues the certificates."""
    peer_trusted: Mapping[str, str] = field(default_factory=lambda: {"1": MADE})
    """The same of the authorities that members trust among each other."""
    peer_issuer: str = "1"
    """The authority that issues the peer certificates."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """etcd's flags as far as they are the same on all members."""
    on_volumes: bool = False
    """The data are on volumes, which outlive their machines."""
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Slot -> where its machine comes from (`plan.origin`); older programs have not noted it."""
    authentication: bool = False
    """Whether etcd asks which user a client is."""
    users: Mapping[str, str] = field(default_factory=dict)
    """User beside API servers and the program -> what it may do: `read /backup/`."""
    serial: int = 0
    """How many updates have changed any of this; what an override is good for ends with it."""
    database_bytes: int = 0
    """Size of the largest database at the last health check; 0: not known."""
    overridden: Sequence[str] = ()
    """What the guard had refused in the update that led here, and was overridden."""

    @property
    def quota_bytes(self) -> int:
        """Size of the database at which etcd stops taking writes; 0: not known."""
        return int(self.flags.get("--quota-backend-bytes", "0"))

    @property
    def heartbeat_ms(self) -> int:
        """Interval of the leader's heartbeat."""
        return int(self.flags.get(HEARTBEAT, OWN_HEARTBEAT_MS))

    @property
    def election_ms(self) -> int:
        """Time without a heartbeat until an election."""
        return int(self.flags.get(ELECTION, OWN_ELECTION_MS))

    @property
    def tls(self) -> tuple[str, str]:
        """The oldest and the newest version of TLS that a member speaks with another one, `TLS1.2` or `TLS1.3`."""
        suites = self.flags.get(TLS_SUITES, OURS).split(",")
        # Without a suite for our keys TLS 1.2 is allowed, and of no use.
        least = self.flags.get(TLS_LEAST, "TLS1.2") if OURS in suites else "TLS1.3"
        return least, self.flags.get(TLS_MOST) or "TLS1.3"

    def same(self, other: "State") -> bool:
        """Whether both describe the same cluster, whichever updates led there."""
        return self.content() == other.content()

    def content(self) -> dict[str, Any]:
        """The description alone, as plain data; `members` keeps its order."""
        data = _plain(vars(self))
        return {key: value for key, value in data.items() if key not in ("serial", "database_bytes", "overridden")} | {
            "members": [list(member) for member in self.members.items()]
        }

    def data(self) -> dict[str, Any]:
        """As plain data for an output."""
        # Objects lose their order on the way through the state.
        return {"format": FORMAT, **_plain(vars(self)), "order": list(self.members)}


NOTHING: Mapping[str, Any] = {}
"""What there is before the first update."""


def read_state(data: Mapping[str, Any] | None) -> State | None:
    """The state that an earlier update left; None when there is none, or when another format of it is there.

    Numbers may have become floats on the way.
    """
    try:
        if not data or int(data.get("format", 0)) != FORMAT:
            return None
        order = list(data["order"])
        return State(
            cluster=data["cluster"],
            version=data["version"],
            members={name: data["members"][name] for name in order},
            data_directories=dict(data["data_directories"]),
            generations={name: int(generation) for name, generation in data["generations"].items()},
            identities=dict(data["identities"]),
            trusted=dict(data["trusted"]),
            issuer=data["issuer"],
            # Before there were two lists, there was one for both.
            peer_trusted=dict(data.get("peer_trusted", data["trusted"])),
            peer_issuer=data.get("peer_issuer", data["issuer"]),
            flags=dict(data["flags"]),
            on_volumes=bool(data["on_volumes"]),
            origins={name: dict(origin) for name, origin in data.get("origins", {}).items()},
            # Updates of earlier versions of this program have not left these.
            authentication=bool(data.get("authentication", False)),
            users=dict(data.get("users", {})),
            serial=int(data["serial"]),
            database_bytes=int(data["database_bytes"]),
            overridden=tuple(data["overridden"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def wanted_state(
    plan: ClusterPlan,
    *,
    generations: Mapping[str, int],
    identities: Mapping[str, str],
    certificates: Mapping[str, str],
    on_volumes: bool = False,
    origins: Mapping[str, Origin] | None = None,
) -> State:
    """What a plan wants, in the guard's terms.

    Args:
        plan: the cluster.
        generations: slot -> generation; nothing for machines that exist already.
        identities: slot -> text that differs when its machine does, as far as it is known now.
        certificates: authority -> its certificate, PEM, as far as the user's own are known now.
        on_volumes: the data are on volumes, which outlive their machines.
        origins: slot -> where its machine comes from. Default, and what is left out: it exists already.

    Raises:
        PlanError: the cluster cannot be made; holds every reason.
    """
    member_specs(plan)
    anybody = replace(plan.members[0], address=_ANY_ADDRESS)
    # Where the CAs of the peers are follows from who they are, which has rules of its own.
    flags = member_specs(replace(plan, members=[anybody], peer_authorities=None))[anybody.name]["flags"]
    plans = {each.name: each for each in [*(plan.peer_authorities or ()), *plan.authorities]}
    known = {name: _certificate(each, certificates.get(name, "")) for name, each in plans.items()}
    peers, peer_issuer = plan.peers
    return State(
        cluster=plan.name,
        version=plan.version,
        members={member.name: member.address for member in plan.members},
        data_directories={member.name: member.data_directory for member in plan.members},
        generations=dict(generations),
        identities={name: digest(text) for name, text in identities.items()},
        trusted={each.name: known[each.name] for each in plan.authorities},
        issuer=plan.issuer,
        peer_trusted={name: known[name] for name in peers},
        peer_issuer=peer_issuer,
        flags={flag: value.replace(_ANY_ADDRESS, "ADDRESS") for flag, value in flags.items() if flag not in _OWN_FLAGS},
        on_volumes=on_volumes,
        origins={member.name: dict((origins or {}).get(member.name, EXISTS)) for member in plan.members},
        authentication=plan.authentication,
        users={user.name: f"{user.permission} {user.prefix}" for user in plan.users},
    )


def following(previous: State | None, wanted: State, overridden: Sequence[str]) -> State:
    """The wanted state with the number that it gets after the previous one."""
    if previous is None:
        return replace(wanted, serial=1)
    if wanted.same(previous):
        return replace(wanted, serial=previous.serial, overridden=tuple(previous.overridden))
    return replace(wanted, serial=previous.serial + 1, overridden=tuple(overridden))


def _certificate(authority: AuthorityPlan, text: str) -> str:
    if not authority.certificate:
        return MADE
    return digest(text) if text else ""


def digest(text: str) -> str:
    """A few hex digits that stand for a text."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
