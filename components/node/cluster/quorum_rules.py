"""Which voters may stop, leave or be removed, and which one may lead: pure rules over the statuses of the voters.

Nothing here asks or changes a member, so tests need no machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..protocol.etcd import Member, Membership, Status
from ..shared.errors import NodeError


@dataclass(frozen=True)
class Voter:
    """A voting member, and why it cannot be counted on now."""

    name: str
    trouble: str = ""
    """Empty: it is ready, has caught up with the leader, and has no alarm."""


def quorum_of(voters: int) -> int:
    """The size of a majority of this many voters."""
    return voters // 2 + 1


def refuse_stop(member: str, voters: Sequence[Voter]) -> None:
    """Refuses to stop this member unless all others are healthy and form a quorum without it.

    A cluster of one member can be restarted; it serves no client meanwhile.

    Args:
        voters: all voters of the cluster, this one included or not.

    Raises:
        NodeError: stopping it would cost or endanger the quorum; nothing was changed.
    """
    others = [voter for voter in voters if voter.name != member]
    if not others:
        return
    sick = [voter for voter in others if voter.trouble]
    if sick:
        said = "; ".join(f"{voter.name}: {voter.trouble}" for voter in sick)
        raise NodeError(
            f"a restart is needed, but not all other members are healthy ({said}); nothing was restarted",
            f"{remedy(said)} Then run again.",
        )
    if len(others) < quorum_of(len(others) + 1):
        raise NodeError(
            f"a restart is needed, but {len(others) + 1} voters have no quorum without it; nothing was restarted",
            "Undo the change that needs the restart, grow the cluster to 3 members, then make the change again.",
        )


def refuse_drain(name: str, voters: Sequence[Voter]) -> None:
    """Refuses to release the machine of a voter unless all others are healthy.

    If that voter is not healthy itself, a majority of healthy others is enough.

    Raises:
        NodeError: it must stay; nothing was changed.
    """
    others = [voter for voter in voters if voter.name != name]
    sick = [voter for voter in others if voter.trouble]
    dead = any(voter.name == name and voter.trouble for voter in voters)
    if len(others) - len(sick) < quorum_of(len(voters)) or (sick and not dead):
        said = "; ".join(f"{voter.name}: {voter.trouble}" for voter in sick) or "there are too few other members"
        raise NodeError(
            f"the machine of {name} would go, but the cluster does not tolerate its loss ({said}); it stays as it is",
            f"{remedy(said)} Then run again.",
        )


def refuse_unhealthy(what: str, voters: Sequence[Voter]) -> None:
    """Refuses unless every voter is healthy.

    Args:
        what: what would happen, or has happened, for the message.

    Raises:
        NodeError: one is not.
    """
    said = "; ".join(f"{voter.name}: {voter.trouble}" for voter in voters if voter.trouble)
    if said:
        raise NodeError(f"{what}, but not all members are healthy ({said})", f"{remedy(said)} Then run again.")


STRANGER = "it is not one of this stack's members"
"""The trouble of a voter that the specification does not name."""

_SICK = (
    "Bring it back (`etcd-node status` and `journalctl -u etcd` on that machine); if its disk or its machine was "
    "replaced, change its `identity`."
)


def remedy(said: str, otherwise: str = _SICK) -> str:
    """The remedy for what members reported.

    Args:
        otherwise: the remedy if nothing special is known.
    """
    if "NOSPACE" in said:
        return (
            "Make room: run `etcd-node recover-space` as root on a member (docs/operations.md, "
            '"The database is full (alarm NOSPACE)"). Or first raise `quota` in an update that changes nothing else.'
        )
    if "CORRUPT" in said:
        return (
            "The data of the member that the alarm names (`etcdctl alarm list`) differ from those of the others, and "
            "etcd serves no client until that member is removed: see docs/operations.md "
            '("Data corruption (alarm CORRUPT)").'
        )
    if STRANGER in said:
        return (
            "This stack did not add it and does not know its machine. In a migration, list every control plane in "
            "`migration.controlPlanes`, and do not remove the member of one. Otherwise, while all others are healthy, "
            "remove it (`etcdctl member remove` and its ID, as root on a member)."
        )
    return otherwise


def refuse_removal(member: str, voters: Sequence[Voter], removed: int) -> None:
    """Refuses to remove this member's stale entry unless most of the voters that stay are healthy.

    Args:
        removed: how many voters would be removed with it.

    Raises:
        NodeError: the cluster would have no quorum; nothing was changed.
    """
    others = [voter for voter in voters if voter.name != member]
    sick = [voter for voter in others if voter.trouble]
    staying = len(voters) - removed
    if removed and len(others) - len(sick) < quorum_of(staying):
        said = "; ".join(f"{voter.name}: {voter.trouble}" for voter in sick)
        raise NodeError(
            f"this member has lost its data, and only {len(others) - len(sick)} of the other {staying} voters are "
            f"healthy ({said}): without its entry the cluster would have no quorum; nothing was changed",
            f"{remedy(said, 'Bring the other members back first.')} Then run again.",
        )


def refuse_another_learner(member: str, cluster: Membership) -> None:
    """Refuses to wait any longer for another learner: etcd adds one at a time.

    Raises:
        NodeError: there is one; says which.
    """
    entry = next((entry for entry in cluster.members if entry.learner), None)
    if entry is not None:
        name = entry.name or f"an unstarted member at {', '.join(entry.peer_urls)}"
        raise NodeError(
            f"{member} cannot join: {name} (ID {entry.id:x}) is already a learner, and etcd accepts one learner at a "
            "time",
            "If that learner is to stay, bring it back (`etcd-node status` on its machine). If not, remove it, as "
            f"root on a member: `etcdctl member remove {entry.id:x}` (for its options see the output `etcdctl`). Then "
            "run again.",
        )


def refuse_leaving(entry: Member, staying: Sequence[str], voters: Sequence[Voter]) -> None:
    """Refuses to remove a voter unless all members that stay are healthy, and the healthy voters a majority without it.

    Args:
        staying: names of the members that stay, voters and learners.

    Raises:
        NodeError: nothing was removed.
    """
    if entry.learner:
        return
    healthy = [voter.name for voter in voters if not voter.trouble and voter.name != entry.name]
    sick = [voter for voter in voters if voter.trouble and voter.name in staying]
    if sick or len(healthy) < quorum_of(len(voters) - 1):
        said = "; ".join(f"{voter.name}: {voter.trouble}" for voter in voters if voter.trouble)
        raise NodeError(
            f"{entry.name} is to leave the cluster, but not all others are healthy ({said}); it was not removed",
            f"{remedy(said)} Then run again.",
        )


# Statuses are read one after another while the cluster works. Indexes this close count as equal.
_CLOSE = 100


def heir(leader: str, voters: Sequence[Voter], statuses: Mapping[str, Status]) -> str | None:
    """The voter that leads next: the first healthy one of those that are most up to date; None if there is none.

    Args:
        voters: in the order in which changes reach them, so that the first is most likely done.
    """
    able = [voter.name for voter in voters if voter.name != leader and not voter.trouble and voter.name in statuses]
    best = max((statuses[name].applied_index for name in able), default=0)
    return next((name for name in able if statuses[name].applied_index >= best - _CLOSE), None)


# A voter this many entries behind the leader is not counted on. In a busy cluster, members differ by some tens.
_LAG = 5000


def trouble_of(status: Status | None, leader: Status | None, *, full: bool = False) -> str:
    """Why a member's status disqualifies it; empty if it does not.

    Args:
        full: the database may be full. Its alarm (NOSPACE) endangers no quorum.
    """
    if status is None:
        return "no status"
    errors = [error for error in status.errors if not (full and error.startswith("alarm NOSPACE "))]
    if errors:
        return ", ".join(errors)
    if status.leader == 0:
        return "it knows no leader"
    if leader is not None and status.leader != leader.member_id:
        return "it follows another leader"
    if leader is not None and leader.raft_index - status.applied_index > _LAG:
        return f"it is {leader.raft_index - status.applied_index} entries behind the leader"
    return ""
