"""What to do next with this member: pure functions from what is there to the smallest safe step.

Nothing in here looks at the machine or changes it, so all of it is tested without one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ..protocol.etcd import Member, Membership, Status
from ..shared.errors import NodeError


class Step(Enum):
    """The steps of `converge`; each leaves the cluster whole, and after each the member is looked at anew."""

    JOIN = "join the cluster"
    REJOIN = "move the old data aside and join"
    ADOPT = "take the data for this member's own"
    START = "start"
    RESTART = "restart"
    PROMOTE = "become a voter"
    DONE = "nothing"


@dataclass(frozen=True)
class Situation:
    """What is known of this member and of its cluster."""

    member: str
    peer_url: str
    has_data: bool
    """There is a log in the data directory."""
    member_id: int | None
    """The ID in the log; None without a log, or when it cannot be read."""
    cluster_id: int | None
    identified: bool
    """identity.json says that the data are this member's."""
    runs: bool
    differs: tuple[str, ...]
    """What the process runs with otherwise than wanted; empty when it does not run."""
    quorum: Membership | None
    """The members as somebody says who reads through the quorum; None when nobody does."""
    silence: str = ""
    """Why nobody does: what the other members said."""
    forgets: bool = False
    """The data are known to be older than what the member has confirmed, and are to be given up."""

    @property
    def mine(self) -> Member | None:
        """This member's entry; None when nobody says, or there is none."""
        return None if self.quorum is None or self.member_id is None else self.quorum.by_id(self.member_id)

    @property
    def learns(self) -> bool:
        """Whether it is a member that does not vote yet."""
        return self.mine is not None and self.mine.learner


def next_step(now: Situation) -> Step:
    """The next step for this member.

    Raises:
        NodeError: none of them is safe; everything stays as it is.
    """
    if not now.has_data:
        if now.quorum is None:
            raise NodeError(
                "this member has no data, and no other member with a quorum answers "
                f"({now.silence or 'there is no other'}); "
                "a cluster that has existed is never bootstrapped again",
                remedy(
                    now.silence,
                    "Bring the other members back first, then run again. If a majority is lost for good, restore from "
                    'a snapshot or from a survivor\'s data as docs/operations.md says ("A majority was lost"), or '
                    "`pulumi destroy` and `pulumi up` for a new, empty cluster.",
                ),
            )
        return Step.JOIN
    if now.quorum is not None:
        _refuse_another_cluster(now, now.quorum)
        if now.forgets or (now.member_id is not None and now.quorum.by_id(now.member_id) is None):
            return Step.REJOIN
    if not now.identified:
        if now.quorum is None or now.member_id is None:
            raise NodeError(
                "the data directory holds data that nothing on this machine vouches for, and no "
                "member of the cluster "
                f"answers who could ({now.silence or 'there is no other'}); the data are untouched",
                "Bring the other members back and run again, or move the data directory away if the data are not "
                "needed.",
            )
        return Step.ADOPT
    _refuse_other_address(now)
    if not now.runs:
        return Step.START
    if now.differs:
        return Step.RESTART
    return Step.PROMOTE if now.learns else Step.DONE


def _refuse_another_cluster(now: Situation, quorum: Membership) -> None:
    if now.cluster_id is not None and now.cluster_id != quorum.cluster_id:
        raise NodeError(
            f"the data directory holds data of the cluster {now.cluster_id:x}, the other members "
            "are the cluster "
            f"{quorum.cluster_id:x}; the data are untouched",
            "If these data are not needed, move the data directory away and run again: the member then joins its "
            "cluster.",
        )


def _refuse_other_address(now: Situation) -> None:
    if now.mine is not None and now.peer_url not in now.mine.peer_urls:
        raise NodeError(
            f"this member is known to its cluster as {', '.join(now.mine.peer_urls)}, and its address is to be "
            f"{now.peer_url}; a member that "
            "runs keeps its address",
            "Put the old address back, or give the new address to a member of another name.",
        )


@dataclass(frozen=True)
class Voter:
    """A voting member, and what speaks against counting on it now."""

    name: str
    trouble: str = ""
    """Empty: it is ready, in step with the leader, and has no alarm."""


def quorum_of(voters: int) -> int:
    """How many of that many voters are a majority."""
    return voters // 2 + 1


def refuse_stop(member: str, voters: Sequence[Voter]) -> None:
    """Refuses to stop this member unless all others are healthy and carry the quorum without it.

    A cluster of one has nobody to wait for: it may be restarted, and does not answer meanwhile.

    Args:
        member: this member's name.
        voters: all voters of the cluster, this one included or not.

    Raises:
        NodeError: stopping it would cost the quorum or come too near to it; nothing was changed.
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
            "Undo the change that needs the restart, let the cluster grow to 3 members, then make it again.",
        )


def refuse_drain(name: str, voters: Sequence[Voter]) -> None:
    """Refuses to let the machine of a voter go unless the others carry the quorum: all of them, or, where that voter is
    of no use already, so many of them as are needed.

    Args:
        name: the voter.
        voters: all voters of the cluster.

    Raises:
        NodeError: it has to stay; nothing was changed.
    """
    others = [voter for voter in voters if voter.name != name]
    sick = [voter for voter in others if voter.trouble]
    dead = any(voter.name == name and voter.trouble for voter in voters)
    if len(others) - len(sick) < quorum_of(len(voters)) or (sick and not dead):
        said = "; ".join(f"{voter.name}: {voter.trouble}" for voter in sick) or "there are too few of them"
        raise NodeError(
            f"the machine of {name} is to go, but the other members do not carry the cluster without it ({said}); it "
            "stays as it is",
            f"{remedy(said)} Then run again.",
        )


STRANGER = "it is not one of this stack's members"
"""What speaks against counting on a voter that is in the cluster and not on the list."""

_SICK = (
    "Bring it back (`etcd-node status` and `journalctl -u etcd` on that machine); if its disk or its machine is "
    "another one, say so by its `identity`."
)


def remedy(said: str, otherwise: str = _SICK) -> str:
    """What to do about what members said.

    Args:
        said: what they said.
        otherwise: what to do when it is nothing special.
    """
    if "NOSPACE" in said:
        return (
            "Make room: `etcdctl compact`, then `etcdctl defrag` on each member, then `etcdctl alarm disarm` "
            '(docs/operations.md, "The database is full (alarm NOSPACE)", has the lines). A larger quota is a change '
            "of a setting like any other: it comes after that."
        )
    if "CORRUPT" in said:
        return (
            "The data of the member that the alarm names (`etcdctl alarm list`) are not those of the others, and etcd "
            "serves nobody until that member is gone: docs/operations.md says how "
            '("Data corruption (alarm CORRUPT)").'
        )
    if STRANGER in said:
        return (
            "Somebody else has added it, and here nobody knows its machine: while all others are healthy, take it out "
            "(`etcdctl member remove` and its ID, as root on a member)."
        )
    return otherwise


def refuse_removal(member: str, voters: Sequence[Voter], removed: int) -> None:
    """Refuses to remove this slot's stale entry unless those who stay and are healthy are a majority of those who stay.

    Args:
        member: this member's name.
        voters: all voters that are listed now.
        removed: how many of them would be removed.

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
    """Refuses to wait any longer for a learner that is in the way of the next one.

    Args:
        member: who would join.
        cluster: the member list.

    Raises:
        NodeError: there is one; says which.
    """
    entry = next((entry for entry in cluster.members if entry.learner), None)
    if entry is not None:
        name = entry.name or f"an unstarted member at {', '.join(entry.peer_urls)}"
        raise NodeError(
            f"{member} cannot join: {name} (ID {entry.id:x}) is a learner already, and etcd takes in one after another",
            "If that one is to come, bring it back (`etcd-node status` on its machine). If not, take it out, as root "
            f"on a member: `etcdctl member remove {entry.id:x}` (its options: the output `etcdctl`). Then run again.",
        )


def leaving(gone: Mapping[str, str], wanted: Mapping[str, str], cluster: Membership) -> list[Member]:
    """The entries of those that an edit took off the list.

    An address may have been given to another member since, which is wanted: an update that did not reach this machine
    took the first one out.

    Args:
        gone: name -> peer URL of those that were on the list.
        wanted: name -> peer URL of those that are on it.
        cluster: the member list.
    """
    stay = {entry.id for name, url in wanted.items() for entry in cluster.of_slot(name, url)}
    found = {entry.id: entry for name, url in gone.items() for entry in cluster.of_slot(name, url)}
    return [entry for entry in found.values() if entry.id not in stay]


def next_to_leave(leaving: Sequence[Member], voters: Sequence[Voter], leader: str) -> Member:
    """Who of those that leave the cluster goes first: who does not vote, then who is not healthy; the leader last.

    Args:
        leaving: their entries, at least one.
        voters: all voters.
        leader: name of the leader; empty if there is none.
    """
    sick = {voter.name for voter in voters if voter.trouble}
    return min(leaving, key=lambda entry: (entry.name == leader, not entry.learner, entry.name not in sick, -entry.id))


def stays_for_now(entry: Member, wanted: Collection[str], cluster: Membership) -> bool:
    """Whether one that leaves has to wait until everybody has joined who is to join in the same edit.

    A learner carries nothing, and has to go first: while it is there, etcd takes in no other one.

    Args:
        entry: who would go.
        wanted: names of all who are to be in the cluster.
        cluster: the member list.
    """
    return not entry.learner and not set(wanted) <= {each.name for each in cluster.voters}


def refuse_leaving(entry: Member, staying: Sequence[str], voters: Sequence[Voter]) -> None:
    """Refuses to let a voter go unless all who stay are healthy, and the healthy ones are a majority without it.

    Args:
        entry: who would go.
        staying: names of those who stay, whether they vote yet or not.
        voters: all voters.

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


# Statuses are read one after another while the cluster works; so close together they are equally up to date.
_CLOSE = 100


def heir(leader: str, voters: Sequence[Voter], statuses: Mapping[str, Status]) -> str | None:
    """To whom leadership goes: the first healthy voter among those that are most up to date; None if there is none.

    Args:
        leader: who gives it away.
        voters: in the order in which changes go through them, so that the first is the one most likely done with.
        statuses: name -> what the member says of itself.
    """
    able = [voter.name for voter in voters if voter.name != leader and not voter.trouble and voter.name in statuses]
    best = max((statuses[name].applied_index for name in able), default=0)
    return next((name for name in able if statuses[name].applied_index >= best - _CLOSE), None)


# A voter this many entries behind the leader is not counted on; a busy cluster is some tens apart at any moment.
_LAG = 5000


def trouble_of(status: Status | None, leader: Status | None) -> str:
    """What a member's status says against it; empty when nothing does."""
    if status is None:
        return "no status"
    if status.errors:
        return ", ".join(status.errors)
    if status.leader == 0:
        return "it knows no leader"
    if leader is not None and status.leader != leader.member_id:
        return "it follows another leader"
    if leader is not None and leader.raft_index - status.applied_index > _LAG:
        return f"it is {leader.raft_index - status.applied_index} entries behind the leader"
    return ""


def may_bootstrap(member: str, peer_url: str, views: Mapping[str, Membership]) -> bool:
    """Whether this member, which has no data, may bootstrap the cluster with the others.

    Its entry without client URLs is the proof that it never ran: a member publishes them as soon as it has a leader.

    Args:
        member: this member's name.
        peer_url: this member's peer URL.
        views: the member lists of the others that answered.
    """
    entries = [view.of_slot(member, peer_url) for view in views.values()]
    return all(mine and not any(entry.started or entry.learner for entry in mine) for mine in entries)
