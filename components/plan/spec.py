"""What each member is to be: plain data that `etcd-node` on the machine reads, one specification per member."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import addresses, flags, releases, sizes
from .authorities import DEFAULT_AUTHORITY, AuthorityPlan, check_authorities, check_peer_authorities
from .errors import Problem, refuse
from .names import check_extra_names, split
from .users import UserPlan, check_users
from .versions import DEFAULT_VERSION, MINORS, EtcdVersion, check_version, parse, version_warnings

Spec = dict[str, Any]
"""The wanted state of one member, plain JSON data; `etcd-node` describes every key."""

FORMAT = 1
DEFAULT_DATA_DIRECTORY = "/var/lib/etcd"

_ORDER = (
    "format",
    "cluster",
    "member",
    "members",
    "initial_members",
    "token",
    "release",
    "data_directory",
    "data_device",
    "firewall",
    "root_only",
    "extra_addresses",
    "reads",
    "client_port",
    "peer_port",
    "metrics_url",
    "quota_bytes",
    "flags",
    "trusted",
    "issuer",
    "peer_trusted",
    "peer_issuer",
    "users",
    "program",
)


@dataclass(frozen=True)
class MemberPlan:
    """One slot of the cluster."""

    name: str
    """Name of the member, a DNS label."""
    address: str
    """Private IP address of the member."""
    data_directory: str = DEFAULT_DATA_DIRECTORY
    """Directory of etcd's data on the machine, absolute."""
    extra_names: Sequence[str] = ()
    """DNS names and IP addresses that its server and peer certificates have beside its own."""


@dataclass(frozen=True)
class ClusterPlan:
    """The whole cluster; `check_plan` says whether it can be."""

    name: str
    """Name of the cluster, a DNS label."""
    members: Sequence[MemberPlan]
    """The members in the order in which changes go through them: an odd number up to 7."""
    program: str
    """Digest of the `etcd-node` that reads the specification."""
    version: str = DEFAULT_VERSION
    """Release of etcd, `X.Y.Z`."""
    release_mirror: str = releases.DEFAULT_MIRROR
    """Address under which `v<version>/etcd-v<version>-linux-<arch>.tar.gz` is found, https or http."""
    release_sha256: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the archive per architecture, `amd64` and `arm64`; without one, the release's SHA256SUMS holds."""
    release_proxy: str | None = None
    """The proxy through which machines download releases: `http://host:port`. None: that of their environment."""
    quota: str | int = flags.DEFAULT_QUOTA
    """Size of the database at which etcd stops taking writes: bytes, or a number with KiB, MiB or GiB."""
    metrics: str = flags.METRICS_LOOPBACK
    """Where metrics are served: `loopback`, or `private` for the private address too."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Further flags of etcd, name without dashes -> value."""
    heartbeat_interval_ms: int | None = None
    """Time between heartbeats of the leader, in milliseconds. None: etcd's default, 100."""
    election_timeout_ms: int | None = None
    """Time without heartbeat before an election, in milliseconds. None: etcd's default, 1000."""
    authorities: Sequence[AuthorityPlan] = (AuthorityPlan(DEFAULT_AUTHORITY),)
    """The certificate authorities that clients and servers trust."""
    issuer: str = DEFAULT_AUTHORITY
    """Name of the authority that issues their certificates."""
    peer_authorities: Sequence[AuthorityPlan] | None = None
    """The certificate authorities that members trust among each other. None: the same, and the same issuer."""
    peer_issuer: str = ""
    """Name of the authority that issues the peer certificates. Of no meaning without `peer_authorities`."""
    extra_names: Sequence[str] = ()
    """DNS names and IP addresses that the server certificate of every member has beside its own."""
    authentication: bool = False
    """Whether etcd's own authentication is on: a client reaches what the user of its certificate's name may reach."""
    users: Sequence[UserPlan] = ()
    """The users beside API servers and this program, which may do everything."""

    @property
    def peers(self) -> tuple[list[str], str]:
        """Names of the authorities that members trust among each other, and of the one that issues."""
        if self.peer_authorities is None:
            return [each.name for each in self.authorities], self.issuer
        return [each.name for each in self.peer_authorities], self.peer_issuer

    @property
    def shares_authorities(self) -> bool:
        """Whether peers trust the authorities of clients and servers, no other and no fewer."""
        return set(self.peers[0]) == {each.name for each in self.authorities}


def check_plan(cluster: ClusterPlan, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Every reason why this cluster cannot be made; empty when it can.

    Args:
        cluster: the wanted cluster.
        spelled: the user's spelling of an argument of `EtcdCluster`, for the keys of the problems.
    """
    members = spelled("members")
    problems = addresses.check_name(cluster.name, spelled("cluster_name"))
    problems += addresses.check_members([(member.name, member.address) for member in cluster.members], members)
    for index, member in enumerate(cluster.members):
        key = f"{members}[{index}].{spelled('data_directory')}"
        problems += sizes.check_directory(member.data_directory, key)
    named = [(member.name, member.address, member.extra_names) for member in cluster.members]
    problems += check_extra_names(named, cluster.extra_names, members, spelled("extra_names"))
    problems += check_version(cluster.version, spelled("version"))
    problems += releases.check_mirror(cluster.release_mirror, spelled("release_mirror"))
    problems += releases.check_sha256(cluster.release_sha256, spelled("release_sha256"))
    problems += releases.check_proxy(cluster.release_proxy, spelled("release_proxy"))
    problems += sizes.check_bytes(cluster.quota, spelled("quota"))
    problems += flags.check_metrics(cluster.metrics, spelled("metrics"))
    problems += flags.check_timing(
        cluster.heartbeat_interval_ms,
        cluster.election_timeout_ms,
        spelled("heartbeat_interval_ms"),
        spelled("election_timeout_ms"),
    )
    problems += check_authorities(cluster.authorities, cluster.issuer, spelled)
    if cluster.peer_authorities is not None:
        problems += check_peer_authorities(cluster.peer_authorities, cluster.peer_issuer, cluster.authorities, spelled)
    names = [member.name for member in cluster.members]
    problems += check_users(cluster.users, names, authentication=cluster.authentication, spelled=spelled)
    version = parse(cluster.version)
    # Which flags there are is not known without a version.
    if version is not None and version.series in MINORS:
        problems += flags.check_flags(version, cluster.flags, spelled("flags"))
    return problems


def warnings(cluster: ClusterPlan) -> list[str]:
    """What to tell the user about a cluster that can be made; complete sentences.

    Raises:
        PlanError: the cluster cannot be made; holds every reason.
    """
    version = _version(cluster)
    found = version_warnings(version) + flags.flag_warnings(version, cluster.flags)
    found += flags.quota_warnings(sizes.parse_bytes(cluster.quota))
    if cluster.users and cluster.shares_authorities:
        found.append(
            "Peers trust the CA of the clients, so the certificate of each of the users speaks to the peer port, where "
            "nobody asks for permissions: keep them from it by a firewall, or give the peers a CA of their own."
        )
    if len(cluster.members) == 1:
        found.append("One member stands the loss of none; three stand the loss of one.")
    if cluster.release_mirror.startswith("http:") and not cluster.release_sha256:
        found.append(
            f"{cluster.release_mirror}: archives and their checksums come over plain http, which anybody on the way "
            "can change. State the SHA-256 of the archive."
        )
    return found


def member_specs(cluster: ClusterPlan) -> dict[str, Spec]:
    """The specification of every member, name -> specification, in the order of the members; without initial members.

    Raises:
        PlanError: the cluster cannot be made; holds every reason.
    """
    version = _version(cluster)
    return {member.name: _member_spec(cluster, member, version) for member in cluster.members}


def _version(cluster: ClusterPlan) -> EtcdVersion:
    refuse(check_plan(cluster))
    version = parse(cluster.version)
    assert version is not None  # noqa: S101  check_plan has just accepted it
    return version


def _member_spec(cluster: ClusterPlan, member: MemberPlan, version: EtcdVersion) -> Spec:
    trusted, issuer = [authority.name for authority in cluster.authorities], cluster.issuer
    # What is the same is said once, as it was before peers could have others.
    differ = cluster.peers != (trusted, issuer)
    peers = dict(zip(("peer_trusted", "peer_issuer"), cluster.peers, strict=True)) if differ else {}
    extra = {each.name: split(each.extra_names)[1] for each in cluster.members}
    extra = {name: found for name, found in extra.items() if found}
    return {
        "format": FORMAT,
        "cluster": cluster.name,
        "member": member.name,
        "members": {each.name: each.address for each in cluster.members},
        "release": {
            "version": cluster.version,
            "mirror": cluster.release_mirror.rstrip("/"),
            "sha256": {arch: digest.lower() for arch, digest in sorted(cluster.release_sha256.items())},
            **({"proxy": cluster.release_proxy} if cluster.release_proxy else {}),
        },
        "data_directory": member.data_directory,
        "client_port": addresses.CLIENT_PORT,
        "peer_port": addresses.PEER_PORT,
        "metrics_url": flags.METRICS_URL,
        "quota_bytes": sizes.parse_bytes(cluster.quota),
        "flags": flags.render_flags(
            version,
            member.name,
            member.address,
            data_directory=member.data_directory,
            quota_bytes=sizes.parse_bytes(cluster.quota),
            metrics=cluster.metrics,
            heartbeat_interval_ms=cluster.heartbeat_interval_ms,
            election_timeout_ms=cluster.election_timeout_ms,
            user=cluster.flags,
            # Where the lists are the same, it is the file that it was before there was another: no restart for a name.
            peer_authorities="ca.crt" if cluster.shares_authorities else "peer-ca.crt",
        ),
        "trusted": trusted,
        "issuer": issuer,
        **peers,
        **({"extra_addresses": extra} if extra else {}),
        "program": cluster.program,
    }


def client_urls(cluster: ClusterPlan) -> list[str]:
    """The client URL of every member, in order: what an API server is given."""
    return [addresses.url(member.address, addresses.CLIENT_PORT) for member in cluster.members]


def with_users(spec: Mapping[str, Any], cluster: ClusterPlan) -> Spec:
    """The specification that `health` reads: with the users, when authentication is on."""
    if not cluster.authentication:
        return {**spec}
    users = {user.name: {"prefix": user.prefix, "permission": user.permission} for user in cluster.users}
    return {**spec, "users": users}


def with_initial_cluster(spec: Mapping[str, Any], members: Sequence[str], token: str) -> Spec:
    """The specification that `found` reads.

    Args:
        spec: the member's specification.
        members: names of the members with which the cluster is bootstrapped.
        token: etcd's initial cluster token; no two clusters share one.
    """
    return {**spec, "initial_members": list(members), "token": token}


def spec_text(spec: Mapping[str, Any]) -> str:
    """The specification as text for a preview: one setting a line, always in the same order.

    Raises:
        ValueError: the specification has a key of no meaning.
    """
    unknown = sorted(set(spec) - set(_ORDER))
    if unknown:
        raise ValueError(f"a specification has no {', '.join(unknown)}")
    return json.dumps({key: spec[key] for key in _ORDER if key in spec}, indent=2)
