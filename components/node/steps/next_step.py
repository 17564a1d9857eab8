"""What to do next with this member: a pure function from what is there to the smallest safe step.

Nothing here reads or changes the machine, so tests need none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..cluster.quorum_rules import remedy
from ..protocol.etcd import Member, Membership
from ..shared.errors import NodeError


class Step(Enum):
    """The steps of `converge`. Each keeps the cluster healthy, and the member is examined again after each."""

    JOIN = "join the cluster"
    REJOIN = "move the old data aside and join"
    ADOPT = "adopt the data as this member's"
    START = "start"
    RESTART = "restart"
    PROMOTE = "become a voter"
    DONE = "nothing"


@dataclass(frozen=True)
class Situation:
    """The known state of this member and its cluster."""

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
    """The running settings that differ from the desired ones; empty when it does not run."""
    quorum: Membership | None
    """The member list, from a member that reads through the quorum; None when no member does."""
    silence: str = ""
    """Why no member does: the errors of the others."""
    forgets: bool = False
    """The data are known to be older than what the member has confirmed, and must be discarded."""

    @property
    def mine(self) -> Member | None:
        """This member's entry; None when there is none, or no member list."""
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
                    "`pulumi destroy` and `pulumi up` for a new, empty cluster. If no update of this cluster has ever "
                    "succeeded, and this machine has taken the place of another one, or has not begun within a week: "
                    f"`pulumi up --replace '**-{now.member}-bootstrap'`.",
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
                "the data directory holds data that no record on this machine identifies, and no member of the "
                f"cluster answers that could ({now.silence or 'there is no other'}); the data are untouched",
                "Bring the other members back and run again, or move the data directory away, if the data are not "
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
            f"this member is known to its cluster as {', '.join(now.mine.peer_urls)}, but its configured address is "
            f"{now.peer_url}; a running member keeps its address",
            "Restore the old address, or give the new address to a member of another name.",
        )
