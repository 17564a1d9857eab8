"""A migration from stacked etcd: its phases, its control planes, and what the cluster must be like for it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .errors import Problem, did_you_mean, shown
from .members import check_address
from .ranges import parse_range
from .versions import newest, parse

JOIN, SWITCH, LEAVE, DONE = "join", "switch", "leave", "done"
PHASES = (JOIN, SWITCH, LEAVE, DONE)
"""In this order, one update each."""
BACK = "back"
"""The way back from the first phase: the members leave the stacked cluster, and their machines are retired."""
AUTHORITY = "kubeadm"
"""Name of the CA that comes from the control planes."""
LEAST_MEMBERS = 3
LEAST_PATCHES = {"3.5": 26}
"""Minor version -> the lowest patch from which members can leave for good: below it, removed ones can reappear."""
_NODE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class MigrationPlan:
    """The migration of a cluster."""

    phase: str
    """One of PHASES, or BACK."""
    planes: Sequence[tuple[str, str]] = ()
    """Name of each control plane's node, which is that of its stacked member, and its private IP address."""

    @property
    def control_planes(self) -> Mapping[str, str]:
        """The same: name -> address."""
        return dict(self.planes)

    @property
    def stacked(self) -> Mapping[str, str]:
        """The stacked members that belong to the cluster in this phase: name -> address."""
        return self.control_planes if self.phase in (JOIN, SWITCH, BACK) else {}


def check_clients(addresses: Sequence[str], clients: Sequence[str], key: str) -> list[Problem]:
    """Why these control planes would lose etcd when their own members have left; empty when they keep it.

    Args:
        addresses: of the control planes.
        clients: ranges with access to etcd.
        key: the user's key of the ranges.
    """
    ranges = [found for each in clients if (found := parse_range(each)) is not None]
    left = []
    for address in addresses:
        place = parse_range(address)
        if place is not None and not any(
            place.version == range_.version and place.network_address in range_ for range_ in ranges
        ):
            left.append(address)
    if not left:
        return []
    rule = "The API servers of the control planes must reach the members when the stacked ones have left"
    return [Problem(key, shown(list(clients)), rule, f"Add {', '.join(left)}, or a range with them")]


def check_settings(
    *, version: str, issuer: str, peer_issuer: str, authentication: bool, spelled: Callable[[str], str] = str
) -> list[Problem]:
    """Why a migration is not possible with these settings of the cluster, before its last phase; empty when it is.

    Args:
        version: release of etcd.
        issuer: name of the CA that issues certificates.
        peer_issuer: name of the CA that issues the peer certificates.
        authentication: whether etcd's authentication is on.
        spelled: the user's spelling of an argument of `EtcdCluster`.
    """
    problems = []
    release = parse(version)
    if release is not None and release.patch < LEAST_PATCHES.get(release.series, 0):
        rule = f"Below {release.series}.{LEAST_PATCHES[release.series]}, members that were removed can reappear"
        remedy = f"Upgrade the stacked members to {newest(release.series)} first (docs/migration.md)"
        problems.append(Problem(spelled("version"), shown(version), rule, remedy))
    issuers = {"issuer": issuer} if peer_issuer == issuer else {"issuer": issuer, "peer_issuer": peer_issuer}
    for key, name in issuers.items():
        if name != AUTHORITY:
            rule = f"The stacked members trust only their own CA, which is named {AUTHORITY} here"
            remedy = f"Set it to {AUTHORITY}; it can be replaced after the phase {DONE}"
            problems.append(Problem(spelled(key), shown(name), rule, remedy))
    if authentication:
        rule = "The control planes must reach etcd without a user until the migration is complete, also on the way back"
        problems.append(Problem(spelled("authentication"), "true", rule, f"Turn it on after the phase {DONE}"))
    return problems


def check_migration(
    migration: MigrationPlan,
    members: Sequence[tuple[str, str]],
    listed: str,
    spelled: Callable[[str], str] = str,
) -> list[Problem]:
    """Why this migration is not possible; empty when it is.

    Args:
        migration: the migration.
        members: name and address of each member of ours.
        listed: the user's key of the members.
        spelled: the user's spelling of an argument of `EtcdCluster`.
    """
    key = spelled("migration")
    planes, phase = migration.planes, migration.phase
    at = f"{key}.{spelled('control_planes')}"
    if phase not in (*PHASES, BACK):
        rule = f"A phase must be one of {', '.join(PHASES)}, or {BACK}"
        return [Problem(f"{key}.phase", shown(phase), rule, did_you_mean(phase, PHASES) or f"Begin with {JOIN}")]
    if phase == DONE:
        return []
    if not planes:
        rule = "A migration needs the control planes with stacked etcd, all of them"
        return [Problem(at, "nothing", rule, "List each with name, address and ssh")]
    problems = []
    taken = {address: name for name, address in members}
    for index, (name, address) in enumerate(planes):
        if not _NODE.fullmatch(name):
            rule = "The name of a control plane must be that of its node"
            problems.append(Problem(f"{at}[{index}].name", shown(name), rule, "`kubectl get nodes` lists them"))
        problems += check_address(address, f"{at}[{index}].address")
        if address in taken or name in taken.values():
            rule = "A machine cannot be both a control plane and a member of the external cluster"
            remedy = f"Remove it here or in {listed}"
            problems.append(Problem(f"{at}[{index}]", shown(taken.get(address, name)), rule, remedy))
    for what, values in (("name", [name for name, _ in planes]), ("address", [address for _, address in planes])):
        if len(set(values)) < len(values):
            rule = f"Every control plane must have its own {what}"
            problems.append(Problem(at, shown(values), rule, "Correct one of them"))
    least = max(LEAST_MEMBERS, len(planes))
    if len(members) < least:
        rule = f"After a migration the members carry the load alone: at least {least}, no fewer than control planes"
        problems.append(Problem(listed, f"{len(members)} members", rule, "Add machines; later they can be fewer"))
    return problems
