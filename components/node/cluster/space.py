"""When the file of a database is worth a defragmentation, and in which order: pure rules.

A database file never shrinks by itself: what a compaction frees stays in the file, for new data. A defragmentation
writes the file again without it, and the member serves no client meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..protocol.etcd import Status
from ..shared.say import size
from ..shared.spec import Maintenance

FULL_PERCENT = 95
"""With this share of the quota in live data, room would last only for moments; etcd's own alert has the same limit."""


def share(status: Status) -> int:
    """How much of the file is in use, in percent."""
    return 100 * status.db_in_use // max(status.db_size, 1)


def describe(status: Status) -> str:
    """Size and share, for messages."""
    return f"{size(status.db_size)}, {share(status)} % of it in use"


def fragmented(used: int, in_use: int, quota: int, rule: Maintenance) -> bool:
    """Whether the rule calls for a defragmentation: little of the file is in use, and it has a part of the quota.

    Args:
        used: size of the file, in bytes.
        in_use: bytes of it that hold data.
        quota: bytes.
    """
    return in_use * 100 <= used * rule.in_use_percent and used * 100 >= quota * rule.quota_percent


def goes_before(member: str, statuses: Mapping[str, Status], quota: int, rule: Maintenance) -> str:
    """The voter that must be defragmented before this one, because this one leads and so is the last. Empty: none.

    Args:
        statuses: of all voters that gave one.
    """
    own = statuses.get(member)
    if own is None or own.leader != own.member_id:
        return ""
    others = {name: each for name, each in statuses.items() if name != member}
    return next((name for name, each in others.items() if fragmented(each.db_size, each.db_in_use, quota, rule)), "")


def order(voters: Sequence[str], statuses: Mapping[str, Status]) -> list[str]:
    """The voters in the order in which they are defragmented: the leader last."""
    return sorted(voters, key=lambda name: name in statuses and statuses[name].leader == statuses[name].member_id)


def full_of_data(status: Status, quota: int) -> bool:
    """Whether a database that was just defragmented still has the whole quota: all of it is live data."""
    return status.db_size * 100 >= quota * FULL_PERCENT
