"""What the guard knows of a cluster: plain data without secrets that one update leaves for the next."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..authorities import AuthorityPlan
from ..flag_values import OURS
from ..flags import PKI_DIRECTORY
from ..migration import BACK, DONE
from ..origin import EXISTS, Origin
from ..service_managers import KUBELET, KUBERNETES_PKI, SYSTEMD
from ..spec import ClusterPlan, member_specs
from ..timers import OWN_ELECTION_MS, OWN_HEARTBEAT_MS

FORMAT = 1
MADE = "made"
"""Stands for the certificate of a CA that the program creates itself."""
HEARTBEAT, ELECTION = "--heartbeat-interval", "--election-timeout"
TLS_LEAST, TLS_MOST, TLS_SUITES = "--tls-min-version", "--tls-max-version", "--cipher-suites"

OF_DRIFT = ("drift_check", "put_right")
"""Fields about what others have changed on machines, which is no change of the configuration. Absent if the machines
were never asked, so that what other clusters leave stays as it was."""

# Fields about the updates that led to the state.
_OF_UPDATES = ("serial", "database_bytes", "overridden", "restore_listed", "restores", *OF_DRIFT)
# Name and directory of a member have their own rules.
_OWN_FLAGS = ("--name", "--data-dir")
# Absent without a migration, so that what other clusters leave stays as it was.
_OF_MIGRATION = ("migration", "control_planes")
# Absent under systemd, likewise.
_OF_KUBELET = ("image",)
# Absent in a cluster that was never restored, likewise.
_OF_RESTORE = ("restored", "restored_from", "restore_listed")
_ANY_ADDRESS = "192.0.2.1"
"""Stands for the member's own address in its flags, so that they do not depend on which member is first."""


@dataclass(frozen=True)
class State:
    """A cluster as an update leaves it, or the desired one."""

    cluster: str
    """Name of the cluster."""
    version: str
    """Release of etcd, `X.Y.Z`."""
    members: Mapping[str, str]
    """Member -> private address, in the order of the list."""
    data_directories: Mapping[str, str]
    """Member -> directory of its data."""
    generations: Mapping[str, int] = field(default_factory=dict)
    """Slot -> generation of its machine, from 1 on; without slots of machines that Pulumi did not create."""
    identities: Mapping[str, str] = field(default_factory=dict)
    """Slot -> digest that identifies its machine, where that is known before the update."""
    trusted: Mapping[str, str] = field(default_factory=lambda: {"1": MADE})
    """CA that members and clients trust -> digest of its certificate, `made`, or empty: not known."""
    issuer: str = "1"
    """The CA that issues the certificates."""
    peer_trusted: Mapping[str, str] = field(default_factory=lambda: {"1": MADE})
    """The same for the CAs that members trust among each other."""
    peer_issuer: str = "1"
    """The CA that issues the peer certificates."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """The flags of etcd that are the same on all members."""
    on_volumes: bool = False
    """The data are on volumes, which remain when a machine is deleted."""
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Slot -> origin of its machine (`plan.origin`); older programs did not record it."""
    authentication: bool = False
    """Whether etcd's authentication is on."""
    users: Mapping[str, str] = field(default_factory=dict)
    """User -> permission and prefix, as in `read /backup/`; without API servers and the program."""
    migration: str = ""
    """Phase of the migration from stacked etcd; empty: none. Its stacked members are among the members."""
    control_planes: Mapping[str, str] = field(default_factory=dict)
    """Control plane of the migration -> private address."""
    image: str = ""
    """Archive of the image with which the kubelet runs etcd; empty: systemd runs it."""
    restored: int = 0
    """Number of the last restore from a snapshot; 0: none."""
    restored_from: str = ""
    """The snapshot of that restore, as the configuration names it."""
    restore_listed: bool = False
    """Whether the configuration still has that restore."""
    restores: str = ""
    """The snapshot in words, if this is the desired state with a restore that is yet to be made."""
    drift_check: str = ""
    """The text with which the machines were last asked what others have changed; empty: they were not."""
    put_right: Mapping[str, str] = field(default_factory=dict)
    """Member -> what an update has put right on its machine, from `plan.drift`."""
    serial: int = 0
    """How many updates have changed any of this; an override is valid for one serial number."""
    database_bytes: int = 0
    """Bytes of the largest database at the last health check; 0: not known."""
    overridden: Sequence[str] = ()
    """The overridden refusals of the update that led here."""

    @property
    def service_manager(self) -> str:
        """What runs etcd."""
        return KUBELET if self.image else SYSTEMD

    @property
    def quota_bytes(self) -> int:
        """Bytes of the database at which etcd rejects writes; 0: not known."""
        return int(self.flags.get("--quota-backend-bytes", "0"))

    @property
    def heartbeat_ms(self) -> int:
        """Interval between the leader's heartbeats."""
        return int(self.flags.get(HEARTBEAT, OWN_HEARTBEAT_MS))

    @property
    def election_ms(self) -> int:
        """Time without a heartbeat until an election."""
        return int(self.flags.get(ELECTION, OWN_ELECTION_MS))

    @property
    def tls(self) -> tuple[str, str]:
        """The oldest and the newest TLS version between members, `TLS1.2` or `TLS1.3`."""
        suites = self.flags.get(TLS_SUITES, OURS).split(",")
        # Without a cipher suite for the program's keys, TLS 1.2 is allowed but cannot be used.
        least = self.flags.get(TLS_LEAST, "TLS1.2") if OURS in suites else "TLS1.3"
        return least, self.flags.get(TLS_MOST) or "TLS1.3"

    def same(self, other: "State") -> bool:
        """Whether both describe the same cluster, regardless of the updates that led there."""
        theirs = vars(other)
        described = all(mine == theirs[name] for name, mine in vars(self).items() if name not in _OF_UPDATES)
        return described and list(self.members) == list(other.members)

    def content(self) -> dict[str, Any]:
        """The description alone, as plain data; `members` keeps its order."""
        data = _plain(vars(self))
        left_out = (*_OF_UPDATES, *self._absent)
        return {key: value for key, value in data.items() if key not in left_out} | {
            "members": [list(member) for member in self.members.items()]
        }

    def data(self) -> dict[str, Any]:
        """As plain data for an output."""
        # Pulumi's state does not keep the order of objects.
        data = {"format": FORMAT, **_plain(vars(self)), "order": list(self.members)}
        if self.migration:
            data["planes_order"] = list(self.control_planes)
        return {key: value for key, value in data.items() if key not in (*self._absent, "restores")}

    @property
    def _absent(self) -> tuple[str, ...]:
        """Fields that are not written."""
        return (
            *(() if self.migration else _OF_MIGRATION),
            *(() if self.image else _OF_KUBELET),
            *(() if self.restored else _OF_RESTORE),
            *(() if self.drift_check or self.put_right else OF_DRIFT),
        )


NOTHING: Mapping[str, Any] = {}
"""The stack output before the first update."""


def read_state(data: Mapping[str, Any] | None) -> State | None:
    """The state that an earlier update left; None when there is none or it has another format.

    Numbers may be floats, as Pulumi returns them.
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
            # Earlier versions of this program had one list for both.
            peer_trusted=dict(data.get("peer_trusted", data["trusted"])),
            peer_issuer=data.get("peer_issuer", data["issuer"]),
            flags=dict(data["flags"]),
            on_volumes=bool(data["on_volumes"]),
            origins={name: dict(origin) for name, origin in data.get("origins", {}).items()},
            # Earlier versions of this program did not record these.
            authentication=bool(data.get("authentication", False)),
            users=dict(data.get("users", {})),
            migration=data.get("migration", ""),
            control_planes={name: data["control_planes"][name] for name in data.get("planes_order", ())},
            image=data.get("image", ""),
            restored=int(data.get("restored", 0)),
            restored_from=data.get("restored_from", ""),
            restore_listed=bool(data.get("restore_listed", False)),
            drift_check=data.get("drift_check", ""),
            put_right=dict(data.get("put_right", {})),
            serial=int(data["serial"]),
            database_bytes=int(data["database_bytes"]),
            overridden=tuple(data["overridden"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def directories_before(previous: Mapping[str, Any] | None, directories: Mapping[str, str]) -> Mapping[str, str]:
    """Member -> data directory in the last update, for `check_data_directories`.

    If there was one and its record cannot be read, every member may have its data in its directory already. Only the
    machines then refuse a directory for new data.

    Args:
        previous: what the last update applied; None before the first.
        directories: member -> desired data directory.
    """
    state = read_state(previous)
    if state is None:
        return directories if previous else {}
    return state.data_directories


def wanted_state(
    plan: ClusterPlan,
    *,
    generations: Mapping[str, int],
    identities: Mapping[str, str],
    certificates: Mapping[str, str],
    on_volumes: bool = False,
    origins: Mapping[str, Origin] | None = None,
    put_right: Mapping[str, str] | None = None,
) -> State:
    """The desired state of a plan, in the guard's terms.

    Args:
        generations: slot -> generation; empty for machines that exist already.
        identities: slot -> text that identifies its machine, where known at this point.
        certificates: CA -> certificate in PEM, for the user's own CAs, where known at this point.
        on_volumes: the data are on volumes, which remain when a machine is deleted.
        origins: slot -> origin of its machine. Default, also for missing slots: it exists already.
        put_right: what is put right, from `plan.drift`. Default: nothing.

    Raises:
        PlanError: the plan has problems.
    """
    member_specs(plan)
    anybody = replace(plan.members[0], address=_ANY_ADDRESS)
    # The path of the peers' CAs follows from the list of CAs, which has its own rules.
    flags = member_specs(replace(plan, members=[anybody], peer_authorities=None, migration=None))[anybody.name]["flags"]
    plans = {each.name: each for each in [*(plan.peer_authorities or ()), *plan.authorities]}
    known = {name: _certificate(each, certificates.get(name, "")) for name, each in plans.items()}
    peers, peer_issuer = plan.peers
    # On the way back no member of ours is desired.
    ours = [] if plan.phase == BACK else plan.members
    return State(
        cluster=plan.name,
        version=plan.version,
        members={**{member.name: member.address for member in ours}, **plan.stacked},
        data_directories={member.name: member.data_directory for member in ours},
        generations=dict(generations),
        identities={name: digest(text) for name, text in identities.items()},
        trusted={each.name: known[each.name] for each in plan.authorities},
        issuer=plan.issuer,
        peer_trusted={name: known[name] for name in peers},
        peer_issuer=peer_issuer,
        flags={flag: _common(value) for flag, value in flags.items() if flag not in _OWN_FLAGS},
        on_volumes=on_volumes,
        origins={member.name: dict((origins or {}).get(member.name, EXISTS)) for member in ours},
        authentication=plan.authentication,
        users={user.name: f"{user.permission} {user.prefix}" for user in plan.users},
        migration=plan.phase,
        control_planes=dict(plan.migration.control_planes) if plan.migration and plan.phase != DONE else {},
        image=plan.etcd_image or "",
        drift_check=plan.drift_check,
        put_right=dict(put_right or {}),
        **_restored(plan),
    )


def _restored(plan: ClusterPlan) -> dict[str, Any]:
    if plan.restore is None:
        return {}
    found = {"restored": plan.restore.number, "restored_from": plan.restore.source, "restore_listed": True}
    return {**found, "restores": plan.restore.what if plan.restore.pending else ""}


def following(previous: State | None, wanted: State, overridden: Sequence[str]) -> State:
    """The desired state with its serial number."""
    if previous is None:
        return replace(wanted, restores="", serial=1)
    wanted = replace(wanted, restores="")
    if wanted.same(previous):
        return replace(wanted, serial=previous.serial, overridden=tuple(previous.overridden))
    return replace(wanted, serial=previous.serial + 1, overridden=tuple(overridden))


def _common(value: str) -> str:
    """The value of a flag as every member has it, under either service manager."""
    return value.replace(_ANY_ADDRESS, "ADDRESS").replace(KUBERNETES_PKI, PKI_DIRECTORY)


def _certificate(authority: AuthorityPlan, text: str) -> str:
    if not authority.certificate:
        return MADE
    return digest(text) if text else ""


def digest(text: str) -> str:
    """The first 16 hex digits of the text's SHA-256."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
