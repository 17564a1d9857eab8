"""What the announcement says of slow disks and links: which are accepted, and which members have them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ...node.machine.measured import LEAST_PER_SECOND, RECOMMENDED_MS, ROUND_TRIPS, SLOW_DISK, SLOW_LINK, Disk
from ..timers import links
from .change import Change

_MOST = 7
"""More slow links than these are only counted."""


def accepted(acknowledge: Collection[str], new: Collection[str], prepared: Collection[str]) -> str:
    """The end of a step `prepare ...`: what is accepted if the machines of new members measure it; or empty.

    Args:
        acknowledge: what the user accepts, as in `plan.acknowledge`.
        new: members whose machines measure before they begin.
        prepared: all members in the step.
    """
    what = [word for name, word in ((SLOW_DISK, "disk"), (SLOW_LINK, "link")) if name in acknowledge]
    if not what or not new:
        return ""
    whose = "" if {*new} == {*prepared} else f" for {', '.join(new)}"
    return f"; a slow {' or '.join(what)} is accepted{whose}"


def notes(change: Change, acknowledge: Collection[str], measured: Mapping[str, Any]) -> Iterator[str]:
    """Members that stay on a machine that is slower than etcd recommends or requires, in at most two lines.

    Args:
        change: the accepted change.
        acknowledge: as for `accepted`.
        measured: member -> what its machine measured, as in `applied.MEASURED`.
    """
    others = {*change.replaced, *change.other_machine, *change.after.control_planes}
    here = [name for name in change.staying if name not in others]
    disks = {name: disk for name in here if (disk := _disk(measured.get(name, {}))) is not None and disk.slow}
    if disks:
        rule = f"recommends a p99 below {RECOMMENDED_MS:.0f} ms"
        if any(disk.too_slow for disk in disks.values()):
            rule += f" and requires an average below {1000 / LEAST_PER_SECOND:.0f} ms"
        found = [f"{name} ({_figures(disk)})" for name, disk in disks.items()]
        yield _note("disks", found, rule, SLOW_DISK in acknowledge)
    most = change.after.election_ms / ROUND_TRIPS
    known = links(measured, here)
    slow = sorted((pair for pair, trip in known.items() if trip > most), key=lambda pair: -known[pair])
    if slow:
        found = [f"{one} to {other} ({known[one, other]:.0f} ms)" for one, other in slow]
        rule = f"requires at most {most:.0f} ms, a tenth of the election timeout"
        yield _note("links", found, rule, SLOW_LINK in acknowledge)


def _disk(found: Mapping[str, Any]) -> Disk | None:
    """Older programs have recorded no average."""
    if "fdatasync_p99_ms" not in found:
        return None
    return Disk(found.get("fdatasync_average_ms", 0.0), found["fdatasync_p99_ms"], 0)


def _figures(disk: Disk) -> str:
    return f"p99 {disk.p99_ms:.1f} ms" + (f", average {disk.average_ms:.1f} ms" if disk.too_slow else "")


def _note(what: str, found: Sequence[str], rule: str, acknowledged: bool) -> str:
    more = f", and {len(found) - _MOST} more" if len(found) > _MOST else ""
    said = "yes" if acknowledged else "no"
    return f"Slow {what} when last measured: {', '.join(found[:_MOST])}{more}. etcd {rule}. Acknowledged: {said}."
