"""What the configuration of snapshots puts on the machine: programs, root's files, a timer and its service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..service import systemd, unit
from ..shared import files, paths
from ..shared.backup import Backup
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say
from ..shared.spec import Spec
from . import archive, drill_unit, programs, store

_FIRST_SECONDS = 60


def prepare(spec: Spec) -> None:
    """Installs the programs, and tries what can be tried without the destination.

    Raises:
        NodeError: systemd does not know the schedule, an archive cannot be had, or age refuses a recipient.
    """
    if spec.backup is None:
        return
    phase("prepare snapshots")
    for key, of, schedule in (
        ("schedule", "snapshots", spec.backup.schedule),
        ("drill", "the drill", spec.backup.drill or spec.backup.schedule),
    ):
        said = run(["systemd-analyze", "calendar", schedule], 20, check=False)
        if said.returncode != 0:
            raise NodeError(
                f"systemd does not know the schedule {schedule!r} of {of}: {said.stderr.strip()[:200]}",
                f"Correct `backup.{key}`; man systemd.time has its form.",
            )
    programs.ensure(spec.backup, spec.release)
    archive.refuse_recipients(spec.backup)


def install(spec: Spec, credentials: Mapping[str, str]) -> None:
    """Makes the machine take snapshots, or no more; etcd is not affected.

    A minute after it was first installed or changed, the timer also takes one: so that a wrong setting shows at once.
    """
    if spec.backup is None:
        remove(spec.data_directory)
        return
    phase("set up snapshots")
    changed = files.write(paths.BACKUP_STORE, store.configuration(spec.backup, credentials), 0o600)
    drill_unit.install(spec)
    units = {paths.BACKUP_TIMER_FILE: _timer(spec, spec.backup), paths.BACKUP_UNIT_FILE: _service(spec)}
    if systemd.set_up(units, paths.BACKUP_TIMER_WANTED, changed=changed):
        say(f"snapshots go to {spec.backup}")


def remove(data_directory: str) -> None:
    """Ends the timer, and removes credentials and programs; snapshots stay where they are, if they are complete."""
    # `prepare` installs the programs, and an interrupted run goes no further.
    if not any(path.exists() for path in (paths.BACKUP_TIMER_FILE, paths.BACKUP_STORE, paths.BACKUP_PROGRAMS)):
        return
    phase("remove the timer of snapshots")
    # Before the drill: a snapshot that is being stored would leave its drill key.
    run(["systemctl", "stop", paths.BACKUP_TIMER, paths.BACKUP_UNIT], 60, check=False)
    drill_unit.remove(data_directory)
    unit_files = (paths.BACKUP_UNIT_FILE, paths.BACKUP_TIMER_FILE)
    for path in (paths.BACKUP_TIMER_WANTED, *unit_files, paths.BACKUP_STORE, paths.BACKUP_RESULT, paths.BACKUP_LOCK):
        files.remove(path)
        files.remove(files.unfinished(path))
    archive.discard_unfinished(data_directory)
    files.remove_tree(paths.BACKUP_PROGRAMS)
    run(["systemctl", "daemon-reload"], 60)


def timer_runs() -> bool:
    """Whether systemd waits for the next time."""
    return run(["systemctl", "is-active", paths.BACKUP_TIMER], 20, check=False).stdout.strip() == "active"


def result() -> Mapping[str, Any]:
    """How this machine's last attempt ended: `at`, and `cause` and `remedy` if it failed; empty before the first."""
    return files.read_json(paths.BACKUP_RESULT) or {}


def _service(spec: Spec) -> str:
    directory = Path(spec.backup.directory) if spec.backup is not None and spec.backup.directory else None
    return f"""{unit.MARK}; changes here are overwritten. Yours go to {paths.BACKUP_UNIT}.d/*.conf.
[Unit]
Description=Snapshot of the etcd cluster {spec.cluster}, encrypted and kept elsewhere
After={paths.UNIT} network-online.target
{f"RequiresMountsFor={directory}" if directory else ""}

[Service]
Type=oneshot
ExecStart={paths.WRAPPER} snapshot --scheduled
# etcd goes before it.
Nice=19
IOSchedulingClass=idle
CPUWeight=10
MemoryHigh=256M
OOMScoreAdjust=500
UMask=0077
"""


def _timer(spec: Spec, backup: Backup) -> str:
    return f"""{unit.MARK}; changes here are overwritten.
[Unit]
Description=When a snapshot of the etcd cluster {spec.cluster} is taken

[Timer]
OnCalendar={backup.schedule}
OnActiveSec={_FIRST_SECONDS}
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
