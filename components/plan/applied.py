"""What the output `applied` has besides the guard's state (`plan.guard.state`)."""

import math
from collections.abc import Mapping
from typing import Any

CLIENTS = "clients"
"""The client certificates, from `plan.client_certificates`."""
CHECKED = "checked"
"""When the last health check found all members healthy, RFC 3339; absent if an earlier program made it."""
MEASURED = "measured"
"""Member -> what its machine has measured: `fdatasync_average_ms` (not in older programs) and `fdatasync_p99_ms` of its
disk, `round_trips_ms`, other member -> ms, and `round_trips_ms_at`, in seconds since 1970; as far as they are known."""
EARLY_RENEWAL = "early_renewal_hours"
"""The next update renews a certificate with less than this many hours left."""
DRIFT = "drift"
"""Member -> what others had changed on its machine at the last look, one line each; absent if they were not
asked."""


def measurements(previous: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What the machines have measured, as in MEASURED, without what is no number of at least 0.

    A machine may have answered anything, and no later update must fail because of that.

    Args:
        previous: what the last update applied; None before the first.
    """
    found = (previous or {}).get(MEASURED)
    named = found.items() if isinstance(found, Mapping) else ()
    return {name: _measured(each) for name, each in named if isinstance(each, Mapping)}


def _measured(found: Mapping[str, Any]) -> dict[str, Any]:
    trips = found.get("round_trips_ms")
    links = {"round_trips_ms": _numbers(trips)} if isinstance(trips, Mapping) else {}
    kept = {**_numbers(found), **links}
    return kept if "round_trips_ms_at" in kept else {key: each for key, each in kept.items() if key not in links}


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    return {key: each for key, each in found.items() if isinstance(each, int | float) and 0 <= each < math.inf}
