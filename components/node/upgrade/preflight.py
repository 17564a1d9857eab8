"""What must hold, and what has to be done once, before a member may run another version or with a lower quota."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..data import snapshot
from ..protocol import etcd, versions
from ..service import member
from ..shared.errors import NodeError
from ..shared.say import phase, until
from ..shared.spec import Spec
from . import downgrade, v2store

# The leader looks at the members' versions every 4 s.
_SETTLED_SECONDS = 30.0


def refuse(spec: Spec, others: Mapping[str, str]) -> None:
    """Refuses a version that etcd's rules do not allow after the previous one here, or together with the others.

    The same holds for a quota that is lowered below the size of the database.

    Args:
        others: name -> address of the members that are asked for what they run; those that do not answer do not count
            here, because nothing is restarted without them.

    Raises:
        NodeError: it is refused; nothing was changed, not even a certificate.
    """
    (here, quota), wanted = member.version_and_quota(), spec.release.version
    if spec.quota_bytes < quota:
        _refuse_quota(spec, here, {spec.member: spec.address, **others})
    if here in ("", wanted):
        return
    running = {name: status.version for name, status in etcd.statuses(spec, others).items()}
    versions.refuse_version(wanted, {spec.member: here, **running})
    if v2store.applies(versions.minor(here), versions.minor(wanted)):
        v2store.refuse_dirty(spec, here)


def _refuse_quota(spec: Spec, here: str, asked: Mapping[str, str]) -> None:
    """The rule of the guard, with the sizes of now: its own are those of the last update that changed something."""
    # The release that runs is there; `prepare` has not installed the wanted one yet.
    statuses = etcd.statuses(replace(spec, release=replace(spec.release, version=here)), asked)
    for name, status in statuses.items():
        if spec.quota_bytes < status.db_size:
            raise NodeError(
                f"the quota would be lowered to {spec.quota_bytes} bytes, and the database of {name} has "
                f"{status.db_size}: etcd would reject all writes; nothing was changed",
                'Set a higher `quota`; or compact and defragment first (docs/operations.md, "The database is full '
                '(alarm NOSPACE)"), then run again.',
            )


def make_ready(spec: Spec, statuses: Mapping[str, etcd.Status]) -> bool:
    """Prepares the restart of this member, which may run another version afterwards.

    It takes a snapshot before the first member changes, and enables a downgrade if one is needed.

    Args:
        statuses: name -> statuses of the healthy voters, including this one if it is healthy.

    Returns:
        Whether it did anything slow; the others must be checked again then.

    Raises:
        NodeError: the version is refused, or the cluster cannot be made ready for it; nothing was restarted.
    """
    running = {name: status.version for name, status in statuses.items()}
    wanted, here, own = spec.release.version, member.version(), statuses.get(spec.member)
    versions.refuse_version(wanted, running)
    if here in ("", wanted):
        return False
    if own is None:
        # It hangs, or is a learner: it can neither give a snapshot nor start a downgrade.
        make_ready_to_start(spec, [spec.members[name] for name in statuses])
        return True
    if wanted not in running.values():
        snapshot.keep(spec, here, spec.address, own)
    voters = {name: address for name, address in spec.members.items() if name in statuses}
    if versions.minor(wanted) < versions.minor(here):
        downgrade.open_way(spec, here, voters)
    elif versions.minor(wanted) > versions.minor(here):
        _wait_for_last_change(spec, voters)
    return True


def _wait_for_last_change(spec: Spec, voters: Mapping[str, str]) -> None:
    wanted = spec.release.version
    phase("wait until the cluster version is that of the members")
    late: dict[str, str] = {}
    for _ in until(_SETTLED_SECONDS, every=0.5):
        seen = downgrade.all_seen(spec, voters)
        late = {name: each.cluster for name, each in seen.items() if not versions.may_follow(wanted, each)}
        if not late:
            return
    raise NodeError(
        f"the cluster version is still lower than the version of the members "
        f"({', '.join(f'{name}: {cluster}' for name, cluster in late.items())}), and {wanted} would skip a minor "
        "version; nothing was restarted",
        "The leader must reach every member; then run again.",
    )


def make_ready_to_start(spec: Spec, witnesses: Sequence[str]) -> None:
    """Does the same for a member that has data, but is stopped or is not a healthy voter.

    Args:
        witnesses: addresses of other members, which read through the quorum.

    Raises:
        NodeError: it must first return with its previous version; nothing was started or stopped.
    """
    here, wanted = member.version(), spec.release.version
    if here in ("", wanted):
        return
    others = {name: address for name, address in spec.others.items() if address in witnesses}
    seen = downgrade.all_seen(spec, others)
    back = versions.minor(wanted) < versions.minor(here)
    if versions.minor(wanted) != versions.minor(here) and (
        not seen or (back and versions.needs_permission(wanted, seen))
    ):
        raise NodeError(
            f"this member is not a healthy voter, and {wanted} is another minor version than its {here}; etcd was "
            f"neither started nor stopped here",
            f"Set the version back to {here}, and run again; when all members are healthy, set it to {wanted}. If its "
            f"etcd hangs (`etcd-node status`), run `systemctl restart etcd`.",
        )
    statuses = etcd.statuses(spec, others)
    if statuses and wanted not in {each.server for each in seen.values()}:
        name, status = next(iter(statuses.items()))
        snapshot.keep(spec, here, others[name], status)
