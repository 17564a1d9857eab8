"""Names of snapshots in the destination, and which of them are kept. Pure: no clock, no store."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

SUFFIX = ".db.gz.age"
_NAME = re.compile(r"(?P<cluster>[a-z0-9-]+)-(?P<time>\d{8}T\d{6}Z)-r(?P<revision>\d+)" + re.escape(SUFFIX))
_FORMAT = "%Y%m%dT%H%M%SZ"

_Moment = datetime.datetime
_PERIODS: Mapping[str, Callable[[_Moment], tuple[int, ...]]] = {
    "hourly": lambda moment: (moment.year, moment.month, moment.day, moment.hour),
    "daily": lambda moment: (moment.year, moment.month, moment.day),
    "weekly": lambda moment: tuple(moment.isocalendar())[:2],
}


@dataclass(frozen=True)
class Name:
    """What a name says; they sort by time."""

    cluster: str
    taken: datetime.datetime
    """By the clock of the member that took it, UTC."""
    revision: int

    def __str__(self) -> str:
        return f"{self.cluster}-{self.taken:{_FORMAT}}-r{self.revision}{SUFFIX}"


def parse(name: str) -> Name | None:
    """What the name says; None if it is not the name of a snapshot."""
    found = _NAME.fullmatch(name)
    try:
        return found and Name(
            found["cluster"], datetime.datetime.strptime(found["time"], _FORMAT), int(found["revision"])
        )
    except ValueError:
        return None


def superfluous(names: Iterable[str], newest: str, keep: Mapping[str, int] | None) -> list[str]:
    """The snapshots of the cluster of `newest` that need not be kept, the oldest first.

    The last snapshot of each of the last N hours, days and weeks that have one is kept. The clock is not asked, so one
    that jumps cannot make all snapshots old at once. `newest`, and the one with the highest revision, are always kept:
    after a jump back, the newest one has an old time.

    Args:
        names: everything in the destination; other files are left alone.
        newest: the snapshot that was just stored.
        keep: period -> N; None: everything is kept.
    """
    own = parse(newest)
    found = {name: found for name in names if (found := parse(name)) and own and found.cluster == own.cluster}
    if keep is None or not found:
        return []
    kept = {newest, max(found, key=lambda name: (found[name].revision, found[name].taken))}
    by_time = sorted(found, key=lambda name: (found[name].taken, found[name].revision))
    for period, count in keep.items():
        last = {_PERIODS[period](found[name].taken): name for name in by_time}
        kept.update(last[each] for each in sorted(last)[-count:] if count > 0)
    return [name for name in by_time if name not in kept]
