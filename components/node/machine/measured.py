"""Disks and links, measured before a member depends on them. The results stay on the machine.

The disk: small writes in sequence with an fdatasync after each, as etcd's log does them. `prepare` measures it while
the machine has no member. So nothing that runs is disturbed, and a new machine is refused before it changes.

The links: the kernel measures the round trip of every TCP connection that the rehearsal of the network makes anyway
(`network`). A member that runs is measured only if timers are derived and somebody asks anew.

The limits are etcd's own: docs/decisions/measuring.md has the sources.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.say import phase, say, warn
from ..shared.spec import Spec

RECOMMENDED_MS = 10.0
"""etcd recommends that 99 % of the syncs of its log take less."""
LEAST_PER_SECOND = 50
"""etcd requires that a disk makes this many synced writes per second, one after another."""
ROUND_TRIPS = 10
"""etcd requires that an election timeout has at least this many round trips."""
SLOW_DISK, SLOW_LINK = "slow-disk", "slow-link"
"""What `acknowledge` can have."""

_DEFAULT_ELECTION_MS, _MOST_ELECTION_MS = 1000, 50_000
_BYTES = 2300
"""About the size of an entry in the log of a small cluster."""
_MOST = 500
_SECONDS, _TURNS = 0.25, 4
"""A disk that is not fast in the first turn is measured in more of them: the burst of a neighbour passes."""


@dataclass(frozen=True)
class Disk:
    """How long a small write takes until it is on the disk, in ms."""

    average_ms: float
    p99_ms: float
    writes: int

    @property
    def too_slow(self) -> bool:
        """Below what etcd requires."""
        return self.average_ms > 1000 / LEAST_PER_SECOND

    @property
    def slow(self) -> bool:
        """Below what etcd recommends."""
        return self.too_slow or self.p99_ms > RECOMMENDED_MS

    def __str__(self) -> str:
        return f"{self.average_ms:.1f} ms on average, p99 {self.p99_ms:.1f} ms"


def statistics(seconds: list[float]) -> Disk:
    """The figures of these writes, at least one."""
    ordered = sorted(seconds)
    p99 = ordered[math.ceil(len(ordered) * 0.99) - 1]
    return Disk(1000 * sum(ordered) / len(ordered), 1000 * p99, len(ordered))


def synced_writes(place: Path) -> Disk | None:
    """Measures the file system of a directory for 0.25 s, or up to 1 s if it is not fast. Leaves nothing there.

    Returns:
        None if no file can be written there: what needs the directory says why.
    """
    import tempfile  # noqa: PLC0415  `network` starts in less time without it

    taken: list[float] = []
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=place, buffering=0) as file:
        # As etcd does: then a sync need not change the size of the file.
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, _TURNS * _MOST * _BYTES)
        for _ in range(_TURNS):
            _write(file.fileno(), taken)
            if not statistics(taken).slow:
                break
    return statistics(taken) if taken else None


def _write(descriptor: int, taken: list[float]) -> None:
    end, data = time.monotonic() + _SECONDS, os.urandom(_BYTES)
    for _ in range(_MOST):
        os.write(descriptor, data)
        begin = time.monotonic()
        os.fdatasync(descriptor)
        now = time.monotonic()
        taken.append(now - begin)
        if now > end:
            break


def check_disk(spec: Spec) -> Disk | None:
    """Measures the disk of the data directory.

    Returns:
        What `keep_disk` keeps; None if it could not be measured.

    Raises:
        NodeError: it is slower than etcd requires, and that was not acknowledged; nothing was changed.
    """
    phase("measure the disk")
    place = Path(spec.data_directory)
    while not place.exists():
        place = place.parent
    disk = synced_writes(place)
    if disk is None:
        return None
    what = f"a synced write of {_BYTES} bytes to the disk of {spec.data_directory} takes {disk}"
    if SLOW_DISK in spec.acknowledge or not disk.slow:
        say(what)
    elif disk.too_slow:
        raise NodeError(
            f"{what}; etcd requires at least {LEAST_PER_SECOND} of them per second, one after another; nothing was "
            "changed",
            "Put the data directory on a faster disk, such as an SSD, then run again. To use this one as it is, set "
            f"`acknowledge: [{SLOW_DISK}]`.",
        )
    else:
        warn(
            f"{what}; etcd recommends a p99 below {RECOMMENDED_MS:.0f} ms. Put the data directory on a faster disk, or "
            f"set `acknowledge: [{SLOW_DISK}]`."
        )
    return disk


def check_links(spec: Spec, links: Mapping[tuple[str, str], float]) -> None:
    """The election timeout must fit the round trips between members.

    Args:
        links: (member, other member) -> round trip in ms.

    Raises:
        NodeError: one is too long, and that was not acknowledged; nothing was changed.
    """
    election = int(spec.flags.get("--election-timeout", _DEFAULT_ELECTION_MS))
    most = (_MOST_ELECTION_MS if spec.auto_timers else election) / ROUND_TRIPS
    slow = [f"{one} to {other} {trip:.0f} ms" for (one, other), trip in sorted(links.items()) if trip > most]
    if not slow:
        return
    what = f"round trips between members are too long: {', '.join(slow)}"
    if SLOW_LINK in spec.acknowledge:
        say(what)
        return
    raise NodeError(
        f"{what}; etcd requires an election timeout of at least {ROUND_TRIPS} round trips, so they must not exceed "
        f"{most:.0f} ms; no etcd was started",
        "Set `heartbeatIntervalMs: auto`, or longer timers, or choose machines that are closer to each other. To use "
        f"them as they are, set `acknowledge: [{SLOW_LINK}]`.",
    )


def record() -> dict[str, Any]:
    """What was measured: `disk` and `round_trips_ms` (member -> ms), each with the time `..._at` (seconds since 1970).

    Empty on a machine whose member is older than measuring.
    """
    return files.read_json(paths.MEASURED) or {}


def keep_disk(directory: str, disk: Disk) -> None:
    """Records how fast the disk of a data directory is."""
    found = {"average_ms": round(disk.average_ms, 3), "p99_ms": round(disk.p99_ms, 3), "writes": disk.writes}
    _keep(disk={"directory": directory, **found}, disk_at=int(time.time()))


def keep_links(links: Mapping[str, float], *, asked: bool) -> None:
    """Records the round trips to other members; those of before stay.

    Args:
        links: member -> ms.
        asked: timers are derived from them, so they stay as they are until that is asked anew.
    """
    known = record().get("round_trips_ms", {})
    rounded = {name: round(trip, 3) for name, trip in links.items()}
    _keep(round_trips_ms={**known, **rounded}, round_trips_ms_at=int(time.time()), asked=asked)


def forget_asked() -> None:
    """Timers are not derived any more: whoever sets it again asks anew."""
    if record().get("asked"):
        _keep(asked=False)


def answer() -> str:
    """What `converge` passes on, as JSON text: `fdatasync_average_ms`, `fdatasync_p99_ms`, `round_trips_ms` and
    `round_trips_ms_at`, as far as they are known."""
    known = record()
    disk = {f"fdatasync_{key}": known["disk"][key] for key in ("average_ms", "p99_ms") if "disk" in known}
    links = ("round_trips_ms", "round_trips_ms_at")
    return json.dumps({**disk, **{key: known[key] for key in links if key in known}})


def _keep(**changes: Any) -> None:
    files.directory(paths.STATE, 0o700)
    files.write(paths.MEASURED, json.dumps({**record(), **changes}, indent=2) + "\n", 0o600)
