"""The timer of the drill, and its unit: systemd limits what it uses, and ends and removes everything with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..service import systemd, unit
from ..shared import files, paths
from ..shared.backup import Backup
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import more_time, say
from ..shared.spec import Spec
from . import drill_key, scratch

LATE_SECONDS = 23 * 3600
"""So long a drill can wait for the next snapshot: less than a day, because most schedules are daily."""
_LONGEST_HOURS = 6


def install(spec: Spec) -> None:
    """Makes the machine prove restores, or no more."""
    if spec.backup is None or not spec.backup.drill:
        remove(spec.data_directory)
        return
    timer, service = _timer(spec, spec.backup), _service(spec, spec.backup)
    units = {paths.DRILL_TIMER_FILE: timer, paths.DRILL_UNIT_FILE: service}
    if systemd.set_up(units, paths.DRILL_TIMER_WANTED):
        say(f"restores are proved: {spec.backup.drill}")


def remove(data_directory: str) -> None:
    """Ends the timer and a drill, and removes the drill key."""
    unit_files = (paths.DRILL_TIMER_WANTED, paths.DRILL_UNIT_FILE, paths.DRILL_TIMER_FILE)
    there = any(path.is_symlink() or path.exists() for path in unit_files)
    if there:
        run(["systemctl", "stop", paths.DRILL_TIMER, paths.DRILL_UNIT], 60, check=False)
    for path in (*unit_files, paths.DRILL_RESULT):
        files.remove(path)
        files.remove(files.unfinished(path))
    files.remove_tree(paths.DRILL_LIMITS)
    drill_key.drop()
    scratch.remove(data_directory)
    if there:
        run(["systemctl", "daemon-reload"], 60)


def timer_runs() -> bool:
    """Whether systemd waits for the next time."""
    return run(["systemctl", "is-active", paths.DRILL_TIMER], 20, check=False).stdout.strip() == "active"


def start() -> None:
    """Starts a drill, and does not wait for it."""
    run(["systemctl", "start", "--no-block", paths.DRILL_UNIT], 20, check=False)


def wait() -> None:
    """Starts a drill if none runs, and waits for its end.

    Raises:
        NodeError: it was ended from outside.
    """
    more_time(_LONGEST_HOURS * 3600.0)
    code = run(["systemctl", "start", paths.DRILL_UNIT], _LONGEST_HOURS * 3600.0, check=False).returncode
    if code != 0 and "cause" not in result():
        raise NodeError("the drill was ended from outside", f"See `journalctl -u {paths.DRILL_UNIT}`.")


def result() -> Mapping[str, Any]:
    """How this machine's last drill ended: `at`, seconds since 1970, and one of the following; empty before the first.

    `said`: a sentence about its success. `cause` and `remedy`: it failed. `waits`: it waits for the next snapshot, and
    says why; `since` then is the first time in a row, in seconds since 1970.
    """
    found = files.read_json(paths.DRILL_RESULT) or {}
    return found if type(found.get("at")) is int else {}


def record(now: float, outcome: Mapping[str, Any]) -> None:
    """Records how it ended."""
    before = result()
    since = {"since": before.get("since", int(now))} if "waits" in outcome else {}
    files.write(paths.DRILL_RESULT, json.dumps({"at": int(now), **outcome, **since}, indent=2) + "\n", 0o600)


def began(now: float, name: str) -> None:
    """Records a drill that has begun, until it ends."""
    remedy = f"If it does not run any more (`systemctl status {paths.DRILL_UNIT}`), start it again: `etcd-node drill`."
    record(now, {"cause": f"the drill of {name} has begun and not ended", "remedy": remedy})


def _service(spec: Spec, backup: Backup) -> str:
    place = scratch.directory(spec.data_directory)
    return f"""{unit.MARK}; changes here are overwritten. Yours go to {paths.DRILL_UNIT}.d/*.conf.
[Unit]
Description=Proves that the newest snapshot of the etcd cluster {spec.cluster} can be restored
After={paths.UNIT} {paths.BACKUP_UNIT} network-online.target
StartLimitIntervalSec=0
{f"RequiresMountsFor={backup.directory}" if backup.directory else ""}

[Service]
Type=oneshot
ExecStart={paths.WRAPPER} drill --scheduled
# However it ends.
ExecStopPost=/bin/rm -rf {place}
RuntimeDirectory={paths.DRILL_RUN.name}
RuntimeDirectoryMode=0700
TimeoutStartSec={_LONGEST_HOURS}h
# etcd goes before it. Each drill sets limits for the memory, by the size of the snapshot.
Nice=19
IOSchedulingClass=idle
IOWeight=10
CPUWeight=10
CPUQuota=100%
MemorySwapMax=0
OOMScoreAdjust=500
# It says itself that etcd was ended.
OOMPolicy=continue
UMask=0077
"""


def _timer(spec: Spec, backup: Backup) -> str:
    return f"""{unit.MARK}; changes here are overwritten.
[Unit]
Description=When a restore of the etcd cluster {spec.cluster} is proved

[Timer]
OnCalendar={backup.drill}
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
