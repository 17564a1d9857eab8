"""Log entries that etcd 3.7 cannot read: those that etcd 3.5 wrote about its members.

A member that has such entries in its log writes a snapshot before it changes to 3.7: no etcd reads entries that are
older than its snapshot. A member that joins with 3.7 must not get them from its leader.
"""

from __future__ import annotations

from ..cluster import leadership, quorum_rules
from ..cluster.quorum_gate import Poll, Rule
from ..protocol import etcd, versions, wal
from ..service import manager, member
from ..shared.errors import NodeError
from ..shared.say import phase, say, until
from ..shared.spec import Spec

_READY_SECONDS = 60.0
_SNAPSHOT_SECONDS = 20.0
_CANNOT_READ = (3, 7)
"""From this minor on, etcd cannot read them."""


def must_be_shed(spec: Spec) -> bool:
    """Whether the desired etcd would exit at start, because of such entries in this member's log."""
    return (
        versions.minor(spec.release.version) >= _CANNOT_READ
        and versions.minor(member.version() or spec.release.version) < _CANNOT_READ
        and wal.old_entries(spec.data_directory) > 0
    )


def shed(spec: Spec, *, runs: bool, learner: bool) -> None:
    """Restarts this member once with the etcd that it has, and has it write a snapshot at once.

    Args:
        runs: its etcd runs now; else it is only started.
        learner: it does not vote.

    Raises:
        NodeError: it does not come back, or writes no snapshot; it still runs its previous version.
    """
    say(f"restarts for a snapshot first: its log has entries of etcd 3.5, which {spec.release.version} cannot read")
    phase("write a snapshot")
    before = manager.show().pid
    if runs:
        manager.begin_stop()
        manager.wait_gone(before)
    manager.stop()  # the unit removes the permission when its process ends, so that must be over
    try:
        member.begin_with("--snapshot-count=1")
        member.wait_ready(spec, _READY_SECONDS, learner=learner)
        for _ in until(_SNAPSHOT_SECONDS, every=0.1):
            if wal.old_entries(spec.data_directory) == 0:
                return
    finally:
        member.forbid()
    raise NodeError(
        f"etcd has written no snapshot within {_SNAPSHOT_SECONDS:.0f} s, and {spec.release.version} could not read its "
        "log; it runs with the version that it had",
        "See `journalctl -u etcd` on the machine, then run again.",
    )


def move_leadership(spec: Spec, cluster: etcd.Membership, polled: Poll, rule: Rule) -> None:
    """Moves leadership to a member that sends no such entries, before a member joins that cannot read them.

    In the middle of an upgrade to 3.7 a leader of 3.6 may still have all entries since it ran 3.5, and sends them to a
    joining member. A member that runs 3.7 has none of them.

    Args:
        spec: the member that is about to join.
        polled: the voters and their statuses.
        rule: what must hold of the voters for it to join.

    Raises:
        NodeError: no member that sends none of them can lead; nothing was changed.
    """
    voters, statuses = polled
    desired = spec.release.version
    old = {name for name, status in statuses.items() if versions.minor(status.version) < _CANNOT_READ}
    if versions.minor(desired) < _CANNOT_READ or not old:
        return
    leader = next((name for name, status in statuses.items() if status.leader == status.member_id), "")
    if leader and leader not in old:
        return
    able = [voter for voter in voters if voter.name not in old]
    if not leader or quorum_rules.heir(leader, able, statuses) is None:
        now = f"{leader}, which runs etcd {statuses[leader].version}," if leader else "a member that cannot be asked"
        raise NodeError(
            f"{spec.member} must join with etcd {desired}, which cannot read log entries that an older leader may "
            f"send to a joining member; {now} leads, and no healthy voter that runs {versions.series(desired)} could; "
            "nothing was changed",
            f"Bring the members that run {versions.series(desired)} back first, then run again.",
        )
    leadership.hand_over(spec, leader, cluster, (able, statuses), rule, untouched="nothing was changed")
