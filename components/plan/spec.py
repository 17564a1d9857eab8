"""The specification of each member: plain data that `etcd-node` reads on the machine."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import flags, members, releases, sizes
from .acknowledge import check_acknowledge
from .authorities import DEFAULT_AUTHORITY, AuthorityPlan, check_authorities, check_peer_authorities
from .backup import BackupPlan, backup_spec, check_backup
from .certificate_names import check_extra_names, split
from .data_directories import check_directory
from .drift import check_drift_check
from .errors import Problem, refuse
from .kubernetes import check_kubernetes_version, kubernetes_warnings
from .maintenance import MaintenancePlan, check_maintenance
from .migration import DONE, MigrationPlan, check_migration, check_settings
from .restore import RestorePlan, check_restore
from .service_managers import KUBELET, KUBERNETES_PKI, SYSTEMD, check_service_manager
from .timers import AUTO, Timers
from .users import UserPlan, check_users
from .versions import DEFAULT_VERSION, MINORS, EtcdVersion, check_version, parse, version_warnings

Spec = dict[str, Any]
"""The desired state of one member, plain JSON data; `etcd-node` describes every key."""

FORMAT = 1
DEFAULT_DATA_DIRECTORY = "/var/lib/etcd"

_ORDER = (
    "format",
    "cluster",
    "member",
    "members",
    "stacked",
    "initial_members",
    "token",
    "release",
    "data_directory",
    "data_device",
    "firewall",
    "root_only",
    "extra_addresses",
    "restore",
    "reads",
    "client_port",
    "peer_port",
    "metrics_url",
    "quota_bytes",
    "flags",
    "maintenance",
    "textfile",
    "metrics_port",
    "trusted",
    "issuer",
    "peer_trusted",
    "peer_issuer",
    "users",
    "backup",
    "service_manager",
    "image",
    "acknowledge",
    "auto_timers",
    "program",
)


@dataclass(frozen=True)
class MemberPlan:
    """One slot of the cluster."""

    name: str
    """A DNS label."""
    address: str
    """Private IP address of the member."""
    data_directory: str = DEFAULT_DATA_DIRECTORY
    """Absolute path of etcd's data on the machine."""
    extra_names: Sequence[str] = ()
    """DNS names and IP addresses in its server and peer certificates besides its own."""


@dataclass(frozen=True)
class ClusterPlan:
    """The whole cluster; `check_plan` checks it."""

    name: str
    """A DNS label."""
    members: Sequence[MemberPlan]
    """The members in the order in which changes are applied: an odd number up to 7."""
    program: str
    """Digest of the `etcd-node` that reads the specification."""
    version: str = DEFAULT_VERSION
    """Release of etcd, `X.Y.Z`."""
    release_mirror: str = releases.DEFAULT_MIRROR
    """https or http URL with `v<version>/etcd-v<version>-linux-<arch>.tar.gz` below it."""
    release_sha256: Mapping[str, str] = field(default_factory=dict)
    """Architecture, `amd64` or `arm64` -> SHA-256 of the archive. Default: from the release's SHA256SUMS."""
    release_proxy: str | None = None
    """Proxy for downloads on the machines: `http://host:port`. None: that of their environment."""
    quota: str | int = flags.DEFAULT_QUOTA
    """Size of the database at which etcd rejects writes: bytes, or a number with KiB, MiB or GiB."""
    metrics: str = flags.METRICS_LOOPBACK
    """Where metrics are served: `loopback`, or `private` for the private address too."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Additional flags of etcd: name without dashes -> value."""
    heartbeat_interval_ms: int | str | None = None
    """Milliseconds between heartbeats of the leader. None: etcd's default, 100. `auto`: both timers are derived."""
    election_timeout_ms: int | None = None
    """Milliseconds without a heartbeat before an election. None: etcd's default, 1000."""
    authorities: Sequence[AuthorityPlan] = (AuthorityPlan(DEFAULT_AUTHORITY),)
    """The CAs that clients and servers trust."""
    issuer: str = DEFAULT_AUTHORITY
    """Name of the CA that issues their certificates."""
    peer_authorities: Sequence[AuthorityPlan] | None = None
    """The CAs that peers trust. None: the same CAs and the same issuer."""
    peer_issuer: str = ""
    """Name of the CA that issues the peer certificates. Ignored without `peer_authorities`."""
    extra_names: Sequence[str] = ()
    """DNS names and IP addresses in the server certificate of every member besides its own."""
    authentication: bool = False
    """Whether etcd's authentication is on: the common name of a client's certificate is its user."""
    users: Sequence[UserPlan] = ()
    """Users besides API servers and this program, which have full access."""
    kubernetes_version: str | None = None
    """Version of the Kubernetes that uses the cluster, `1.Y` or `1.Y.Z`. None: unknown. No member needs it."""
    maintenance: MaintenancePlan = field(default_factory=MaintenancePlan)
    """What machines do by themselves about the size of the database."""
    migration: MigrationPlan | None = None
    """The migration from stacked etcd. None: there is none."""
    backup: BackupPlan | None = None
    """Snapshots that are kept elsewhere. None: there are none."""
    service_manager: str = SYSTEMD
    """What runs etcd on the machines: `systemd` or `kubelet`."""
    etcd_image: str | None = None
    """etcd's image, by digest `NAME@sha256:HEX`, or an archive, `URL#sha256=HEX`. Only under the kubelet."""
    restore: RestorePlan | None = None
    """The restore from a snapshot. None: there is none."""
    prometheus: bool = False
    """Whether Prometheus scrapes the members. Their machines then write metrics of their own, see `machine_metrics`."""
    drift_check: str = ""
    """Every new text has the machines compared with what was installed. Empty: they are not."""
    acknowledge: Sequence[str] = ()
    """What is accepted although it is slower than etcd requires: `slow-disk`, `slow-link`."""
    derived: Timers | None = None
    """With `auto`: the timers of this update. None: etcd's defaults."""

    @property
    def phase(self) -> str:
        """The phase of the migration; empty: there is none."""
        return "" if self.migration is None else self.migration.phase

    @property
    def stacked(self) -> Mapping[str, str]:
        """The stacked members in the cluster: name -> address; empty without a migration, and after it."""
        return {} if self.migration is None else self.migration.stacked

    @property
    def prometheus_certificate(self) -> bool:
        """Whether Prometheus needs a client certificate: it scrapes port 2379, because 2381 is not open to it."""
        return self.prometheus and self.metrics != flags.METRICS_PRIVATE

    @property
    def machine_metrics(self) -> bool:
        """Whether machines serve their own metrics on port 2382 of the private address, beside etcd's on port 2381."""
        return self.prometheus and self.metrics == flags.METRICS_PRIVATE

    @property
    def timers(self) -> tuple[int | None, int | None]:
        """Heartbeat interval and election timeout, in ms. None: etcd's default."""
        if isinstance(self.heartbeat_interval_ms, str):
            # Etcd's defaults are no flags, so that `auto` by itself restarts no member.
            if self.derived is None or self.derived == Timers():
                return None, None
            return self.derived.heartbeat_ms, self.derived.election_ms
        return self.heartbeat_interval_ms, self.election_timeout_ms

    @property
    def peers(self) -> tuple[list[str], str]:
        """Names of the CAs that peers trust, and the name of their issuer."""
        if self.peer_authorities is None:
            return [each.name for each in self.authorities], self.issuer
        return [each.name for each in self.peer_authorities], self.peer_issuer

    @property
    def shares_authorities(self) -> bool:
        """Whether peers trust exactly the CAs of clients and servers."""
        return set(self.peers[0]) == {each.name for each in self.authorities}


def check_plan(cluster: ClusterPlan, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Every reason why this plan is not valid; empty when it is.

    Args:
        spelled: the user's spelling of an argument of `EtcdCluster`, for the keys of the problems.
    """
    listed = spelled("members")
    problems = members.check_name(cluster.name, spelled("cluster_name"))
    problems += members.check_members([(member.name, member.address) for member in cluster.members], listed)
    for index, member in enumerate(cluster.members):
        key = f"{listed}[{index}].{spelled('data_directory')}"
        problems += check_directory(member.data_directory, key)
    named = [(member.name, member.address, member.extra_names) for member in cluster.members]
    problems += check_extra_names(named, cluster.extra_names, listed, spelled("extra_names"))
    problems += check_version(cluster.version, spelled("version"))
    problems += check_drift_check(cluster.drift_check, spelled("drift_check"))
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
    problems += check_acknowledge(cluster.acknowledge, spelled("acknowledge"))
    problems += check_authorities(cluster.authorities, cluster.issuer, spelled)
    if cluster.peer_authorities is not None:
        problems += check_peer_authorities(cluster.peer_authorities, cluster.peer_issuer, cluster.authorities, spelled)
    names = [member.name for member in cluster.members]
    if cluster.migration is not None:
        ours = [(member.name, member.address) for member in cluster.members]
        problems += check_migration(cluster.migration, ours, listed, spelled)
        if cluster.phase != DONE:
            problems += check_settings(
                version=cluster.version,
                issuer=cluster.issuer,
                peer_issuer=cluster.peers[1],
                authentication=cluster.authentication,
                spelled=spelled,
            )
    problems += check_maintenance(cluster.maintenance, spelled)
    problems += check_service_manager(
        cluster.service_manager,
        cluster.etcd_image,
        cluster.flags,
        unproved="A migration from stacked etcd" if cluster.migration else "",
        spelled=spelled,
    )
    problems += check_users(cluster.users, names, authentication=cluster.authentication, spelled=spelled)
    if cluster.backup is not None:
        problems += check_backup(cluster.backup, spelled)
    if cluster.restore is not None:
        migrating = cluster.phase not in ("", DONE)
        problems += check_restore(cluster.restore, cluster.name, migrating=migrating, spelled=spelled)
    if cluster.kubernetes_version is not None:
        problems += check_kubernetes_version(cluster.kubernetes_version, spelled("kubernetes_version"))
    version = parse(cluster.version)
    # The valid flags depend on the version.
    if version is not None and version.series in MINORS:
        problems += flags.check_flags(version, cluster.flags, spelled("flags"))
    return problems


def warnings(cluster: ClusterPlan) -> list[str]:
    """Warnings about a valid plan, in complete sentences.

    Raises:
        PlanError: the plan has problems.
    """
    version = _version(cluster)
    found = version_warnings(version) + flags.flag_warnings(version, cluster.flags)
    found += flags.quota_warnings(sizes.parse_bytes(cluster.quota))
    if cluster.kubernetes_version is not None:
        found += kubernetes_warnings(cluster.kubernetes_version)
    if cluster.prometheus_certificate and not cluster.authentication:
        found.append(
            "Without authentication, the client certificate of Prometheus has full access to etcd, like every "
            "certificate of the CA. Serve metrics on the private address, which needs no certificate, or turn "
            "authentication on."
        )
    limited = cluster.users or (cluster.prometheus_certificate and cluster.authentication)
    if limited and cluster.shares_authorities:
        found.append(
            "Peers trust the CA of the clients, so the peer port accepts every client's certificate and checks no "
            "permissions. Block these clients from the peer port by a firewall, or give the peers a separate CA."
        )
    if len(cluster.members) == 1:
        found.append("One member tolerates no failures; three tolerate one.")
    if cluster.release_mirror.startswith("http:") and not cluster.release_sha256:
        found.append(
            f"{cluster.release_mirror}: archives and their checksums come over plain http and can be changed in "
            "transit. Set the SHA-256 of the archive."
        )
    return found


def member_specs(cluster: ClusterPlan) -> dict[str, Spec]:
    """Name -> specification of every member, in order, without initial members.

    Raises:
        PlanError: the plan has problems.
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
    # Only where they differ, so that the specification of older clusters does not change.
    differ = cluster.peers != (trusted, issuer)
    peers = dict(zip(("peer_trusted", "peer_issuer"), cluster.peers, strict=True)) if differ else {}
    extra = {each.name: split(each.extra_names)[1] for each in cluster.members}
    extra = {name: found for name, found in extra.items() if found}
    by_kubelet = cluster.service_manager == KUBELET
    heartbeat, election = cluster.timers
    return {
        "format": FORMAT,
        "cluster": cluster.name,
        "member": member.name,
        "members": {**{each.name: each.address for each in cluster.members}, **cluster.stacked},
        **({"stacked": list(cluster.stacked)} if cluster.stacked else {}),
        "release": {
            "version": cluster.version,
            "mirror": cluster.release_mirror.rstrip("/"),
            "sha256": {arch: digest.lower() for arch, digest in sorted(cluster.release_sha256.items())},
            **({"proxy": cluster.release_proxy} if cluster.release_proxy else {}),
        },
        "data_directory": member.data_directory,
        "client_port": members.CLIENT_PORT,
        "peer_port": members.PEER_PORT,
        "metrics_url": flags.METRICS_URL,
        "quota_bytes": sizes.parse_bytes(cluster.quota),
        "flags": flags.render_flags(
            version,
            member.name,
            member.address,
            data_directory=member.data_directory,
            quota_bytes=sizes.parse_bytes(cluster.quota),
            metrics=cluster.metrics,
            heartbeat_interval_ms=heartbeat,
            election_timeout_ms=election,
            user=cluster.flags,
            # Shared lists use the old file name, so that older clusters do not restart for a name.
            peer_authorities="ca.crt" if cluster.shares_authorities else "peer-ca.crt",
            certificates=KUBERNETES_PKI if by_kubelet else flags.PKI_DIRECTORY,
        ),
        **cluster.maintenance.data(),
        **({"textfile": True} if cluster.prometheus else {}),
        **({"metrics_port": members.MACHINE_METRICS_PORT} if cluster.machine_metrics else {}),
        "trusted": trusted,
        "issuer": issuer,
        **peers,
        **({"extra_addresses": extra} if extra else {}),
        **({"backup": backup_spec(cluster.backup, cluster.release_mirror)} if cluster.backup else {}),
        # As above: only where it is not the default.
        **({"service_manager": KUBELET, "image": cluster.etcd_image} if by_kubelet else {}),
        **({"acknowledge": sorted(cluster.acknowledge)} if cluster.acknowledge else {}),
        **({"auto_timers": True} if cluster.heartbeat_interval_ms == AUTO else {}),
        "program": cluster.program,
    }


def client_urls(cluster: ClusterPlan) -> list[str]:
    """The client URL of every member, in order, for API servers."""
    return [members.url(member.address, members.CLIENT_PORT) for member in cluster.members]


def with_users(spec: Mapping[str, Any], cluster: ClusterPlan) -> Spec:
    """The specification for `converge` and `health`: with the users when authentication is on."""
    if not cluster.authentication:
        return {**spec}
    users = {user.name: {"prefix": user.prefix, "permission": user.permission} for user in cluster.users}
    return {**spec, "users": users}


def bootstrap_spec(spec: Mapping[str, Any], members: Sequence[str], token: str) -> Spec:
    """The specification for `bootstrap`: what its test of the network needs. The state keeps it for ever.

    Args:
        spec: the member's specification.
        members: names of the initial members.
        token: etcd's initial cluster token, unique to this cluster.
    """
    needed = ("format", "cluster", "member", "members", "extra_addresses", "data_directory", "client_port", "peer_port")
    kept: Spec = {key: spec[key] for key in (*needed, "acknowledge", "auto_timers") if key in spec}
    gates, election = spec["flags"].get("--feature-gates", ""), spec["flags"].get("--election-timeout", "")
    judged = {"--election-timeout": election} if election else {}
    if "SetMemberLocalAddr=true" in gates:  # then etcd itself chooses the source address
        judged["--feature-gates"] = gates
    if judged:
        kept["flags"] = judged
    return {**kept, "initial_members": list(members), "token": token}


def with_restore(spec: Mapping[str, Any], restore: RestorePlan, token: str, sha256: str, source: str = "") -> Spec:
    """The specification for `stage` and `restore`.

    Args:
        spec: the member's specification.
        token: initial cluster token of the cluster that is founded anew; it is the same until the restore is complete.
        sha256: of the snapshot, with which this restore began; empty if it is in the store.
        source: its name in the store; empty: it is a file.
    """
    told = {"number": restore.number, "token": token, "sha256": sha256, "accept": sorted(restore.accept)}
    return {**spec, "restore": {**told, "from": source} if source else told}


def spec_text(spec: Mapping[str, Any]) -> str:
    """The specification as text for a preview: one setting per line, in a fixed order.

    Raises:
        ValueError: the specification has an unknown key.
    """
    unknown = sorted(set(spec) - set(_ORDER))
    if unknown:
        raise ValueError(f"a specification has no {', '.join(unknown)}")
    return json.dumps({key: spec[key] for key in _ORDER if key in spec}, indent=2)
