"""Heartbeat interval and election timeout that are derived from the measured round trips, by etcd's rule.

The machines measure. Flags must be known at preview, and be the same on all members. So an update runs with what
earlier ones have measured, and the update after a measurement announces other timers.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from .errors import Problem, shown

AUTO = "auto"
OWN_HEARTBEAT_MS, OWN_ELECTION_MS = 100, 1000
"""etcd's defaults, in milliseconds."""
LEAST_BEATS = 5
"""An election timeout must be at least this many heartbeat intervals; etcd requires it at start."""
MOST_ELECTION_MS = 50_000
"""etcd allows no longer election timeout."""

_BEATS = 10
"""As in etcd's defaults."""
_SHARE = 1.5
"""A heartbeat interval should be 0.5 to 1.5 round trips: the longest, because a late heartbeat costs an election."""
_STEP_MS = 10
"""Derived intervals are rounded up to this, so that timers do not differ by chance."""


@dataclass(frozen=True)
class Timers:
    """Heartbeat interval and election timeout, in ms."""

    heartbeat_ms: int = OWN_HEARTBEAT_MS
    election_ms: int = OWN_ELECTION_MS


def derive(round_trip_ms: float) -> Timers:
    """The timers for the longest round trip between two members: never shorter than etcd's defaults.

    Shorter ones would let elections depend on the disk and the scheduler instead of the network.
    """
    heartbeat = max(OWN_HEARTBEAT_MS, math.ceil(_SHARE * round_trip_ms / _STEP_MS) * _STEP_MS)
    heartbeat = min(heartbeat, MOST_ELECTION_MS // _BEATS)
    return Timers(heartbeat, _BEATS * heartbeat)


def toward(now: Timers, target: Timers) -> Timers:
    """The timers of one update on the way to others: those of before and after are in use at once, and must fit.

    It leads there in at most two updates.
    """
    return Timers(
        min(target.heartbeat_ms, now.election_ms // LEAST_BEATS),
        max(target.election_ms, LEAST_BEATS * now.heartbeat_ms),
    )


def links(measured: Mapping[str, Any], members: Collection[str]) -> dict[tuple[str, str], float]:
    """Two members -> the round trip between them, in ms; without pairs that were not measured.

    Of the two ends of a link, the one that measured last counts: the machine of a member may be another one by now.

    Args:
        measured: member -> what its machine measured, as in `applied.MEASURED`.
        members: the members that count.
    """
    trips = {name: found.get("round_trips_ms", {}) for name, found in measured.items()}
    known = {
        pair: [
            (measured[one]["round_trips_ms_at"], trips[one][other])
            for one, other in ends
            if other in trips.get(one, {})
        ]
        for pair, ends in ((pair, (pair, pair[::-1])) for pair in combinations(members, 2))
    }
    return {pair: max(ends)[1] for pair, ends in known.items() if ends}


def longest(measured: Mapping[str, Any], members: Collection[str]) -> float | None:
    """The longest round trip between two members, in ms; None if a pair was not measured. Arguments as for `links`."""
    known = links(measured, members)
    return max(known.values(), default=0.0) if len(known) == math.comb(len(members), 2) else None


def derived(now: Timers, measured: Mapping[str, Any], members: Collection[str]) -> Timers:
    """The timers of an update: those of before if a pair of members was not measured.

    Args:
        now: those of the last update.
        measured: as for `longest`.
        members: the desired members.
    """
    trip = longest(measured, members)
    return now if trip is None else toward(now, derive(trip))


def check_auto(heartbeat: object, election: object, heartbeat_key: str, election_key: str) -> list[Problem]:
    """Why timers cannot be derived with these settings; empty when they can, or are not."""
    if not isinstance(heartbeat, str):
        return []
    if heartbeat != AUTO:
        rule = "A heartbeat interval must be a whole number of milliseconds, or auto"
        return [Problem(heartbeat_key, shown(heartbeat), rule, "Set one, or remove it")]
    if election is not None:
        rule = f"With {heartbeat_key}: auto, the election timeout is derived, too"
        return [Problem(election_key, shown(election), rule, "Remove it")]
    return []
