"""What the configuration of snapshots puts on a machine, and what `status` says of them."""

import datetime
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.node.backup import archive, drill_unit, scratch, settings
from components.node.service import systemd as service_systemd
from components.node.shared import files, paths
from components.node.shared.errors import NodeError
from components.node.verbs import status
from components.plan.backup import NEVER, BackupPlan, backup_spec

from .node_support import a_spec

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
PLAN = BackupPlan([RECIPIENT], "*:0/15", directory="/mnt/share", drill=NEVER)
RAW = backup_spec(PLAN, "http://releases.lab")
DRILLED = backup_spec(replace(PLAN, drill="daily"), "http://releases.lab")
FILES = {
    "BACKUP_STORE": "rclone.conf",
    "BACKUP_RESULT": "backup.json",
    "BACKUP_LOCK": "lock",
    "BACKUP_PROGRAMS": "programs",
    "BACKUP_UNIT_FILE": "etcd-snapshot.service",
    "BACKUP_TIMER_FILE": "etcd-snapshot.timer",
    "BACKUP_TIMER_WANTED": "wants/etcd-snapshot.timer",
    "DRILL_KEY": "drill-key.json",
    "DRILL_RESULT": "drill.json",
    "DRILL_LIMITS": "control/etcd-drill.service.d",
    "DRILL_UNIT_FILE": "etcd-drill.service",
    "DRILL_TIMER_FILE": "etcd-drill.timer",
    "DRILL_TIMER_WANTED": "wants/etcd-drill.timer",
}


class Systemd:
    """Records what is asked of systemd, without questions about the timer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.code = 0
        self.active = self.stale = False
        self.killed_at = ""

    def run(self, argv: list[str], *_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        if argv[1] == self.killed_at:
            raise KeyboardInterrupt
        state = f"ActiveState={'active' if self.active else 'inactive'}\nNeedDaemonReload=no\n"
        service = f"\nActiveState=inactive\nNeedDaemonReload={'yes' if self.stale else 'no'}\n"
        if argv[1] == "show":
            return subprocess.CompletedProcess(argv, 0, state + service, "")
        self.active = self.active or argv[1] == "restart"
        self.stale = self.stale and argv[1] != "daemon-reload"
        self.asked.append(" ".join(argv))
        return subprocess.CompletedProcess(argv, self.code, "active\n", "Failed to parse")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    found = Systemd()
    for module in (settings, drill_unit, service_systemd):
        monkeypatch.setattr(module, "run", found.run)
    for name, file in FILES.items():
        monkeypatch.setattr(paths, name, tmp_path / file)
    for call in ("fchown", "chown"):
        monkeypatch.setattr(f"components.node.shared.files.os.{call}", lambda *_: None)
    return found


def test_the_timer_starts_again_only_when_something_changed(systemd: Systemd) -> None:
    wanted = a_spec(backup=RAW)
    settings.install(wanted, {})
    assert systemd.asked == ["systemctl daemon-reload", "systemctl restart etcd-snapshot.timer"]
    assert "OnCalendar=*:0/15\n" in paths.BACKUP_TIMER_FILE.read_text()
    assert "RequiresMountsFor=/mnt/share\n" in paths.BACKUP_UNIT_FILE.read_text()
    assert paths.BACKUP_STORE.stat().st_mode & 0o777 == 0o600
    systemd.asked.clear()
    settings.install(wanted, {})
    assert systemd.asked == []


@pytest.mark.parametrize("killed_at", ["daemon-reload", "restart"])
def test_an_interrupted_installation_is_completed_by_the_next(systemd: Systemd, killed_at: str) -> None:
    systemd.killed_at = killed_at
    with pytest.raises(KeyboardInterrupt):
        settings.install(a_spec(backup=RAW), {})
    systemd.killed_at = ""
    settings.install(a_spec(backup=RAW), {})
    assert systemd.active


def test_a_schedule_that_systemd_has_not_read_is_read(systemd: Systemd) -> None:
    settings.install(a_spec(backup=RAW), {})
    systemd.asked.clear()
    systemd.stale = True
    settings.install(a_spec(backup=RAW), {})
    assert systemd.asked == ["systemctl daemon-reload", "systemctl restart etcd-snapshot.timer"]


def test_without_snapshots_nothing_of_them_is_left(systemd: Systemd, tmp_path: Path) -> None:
    """Neither what a killed run has left: credentials, and a snapshot that was not encrypted yet."""
    data = str(tmp_path / "etcd")
    settings.install(a_spec(data_directory=data), {})
    assert systemd.asked == []
    settings.install(a_spec(backup=RAW, data_directory=data), {})
    files.directory(paths.BACKUP_PROGRAMS)
    files.unfinished(paths.BACKUP_STORE).write_text("secret_access_key = ...")
    waits = archive.directory(data)
    files.directory(waits)
    for name in (".snapshot.db", ".snapshot.db.part", ".unfinished", "dev-20261129T160000Z-r1.db.gz.age"):
        (waits / name).write_bytes(b"")
    settings.install(a_spec(data_directory=data), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etcd.snapshots", "wants"]
    assert [path.name for path in waits.iterdir()] == ["dev-20261129T160000Z-r1.db.gz.age"]
    assert systemd.asked[-1] == "systemctl daemon-reload"


def test_the_drill_has_limits_and_goes_with_all_of_it(systemd: Systemd, tmp_path: Path) -> None:
    """Also what a killed one has left."""
    data = str(tmp_path / "etcd")
    settings.install(a_spec(backup=DRILLED, data_directory=data), {})
    assert "systemctl restart etcd-drill.timer" in systemd.asked
    assert "OnCalendar=daily\n" in paths.DRILL_TIMER_FILE.read_text()
    unit = paths.DRILL_UNIT_FILE.read_text()
    for line in (
        "After=etcd.service etcd-snapshot.service network-online.target",
        "CPUQuota=100%",
        "IOSchedulingClass=idle",
        f"ExecStopPost=/bin/rm -rf {data}.snapshots/drill",
    ):
        assert f"{line}\n" in unit
    systemd.asked.clear()
    settings.install(a_spec(backup=DRILLED, data_directory=data), {})
    assert systemd.asked == []
    paths.DRILL_KEY.write_text("{}")
    paths.DRILL_LIMITS.mkdir(parents=True)
    scratch.directory(data).mkdir(parents=True)
    settings.install(a_spec(backup=RAW, data_directory=data), {})
    assert systemd.asked[0] == "systemctl stop etcd-drill.timer etcd-drill.service"
    assert not list(tmp_path.rglob("*drill*"))


def test_a_snapshot_that_is_being_stored_leaves_no_drill_key_when_snapshots_are_turned_off(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.install(a_spec(backup=DRILLED), {})

    def run(argv: list[str], *words: Any, **more: Any) -> subprocess.CompletedProcess[str]:
        if paths.BACKUP_UNIT in argv:
            paths.DRILL_KEY.write_text("{}")  # it was just about to
        return systemd.run(argv, *words, **more)

    for module in (settings, drill_unit):
        monkeypatch.setattr(module, "run", run)
    settings.install(a_spec(), {})
    assert not paths.DRILL_KEY.exists()


def test_a_schedule_that_systemd_does_not_know_is_refused(systemd: Systemd) -> None:
    systemd.code = 1
    with pytest.raises(NodeError, match=r"systemd does not know the schedule '\*:0/15' of snapshots: Failed to parse"):
        settings.prepare(a_spec(backup=RAW))


def test_status_tells_a_failure_and_what_waits(systemd: Systemd, tmp_path: Path) -> None:
    wanted = a_spec(backup=RAW, data_directory=str(tmp_path / "data" / "etcd"))
    report: dict[str, Any] = {"last": None}
    assert status._snapshots(wanted, report) == []
    assert status._last_snapshot(report) == "none yet, or not known"
    files.write(
        paths.BACKUP_RESULT, '{"at": "2026-11-29T16:00:00Z", "cause": "the store is full", "remedy": "Free it."}'
    )
    place = archive.directory(wanted.data_directory)
    files.directory(place)
    (place / "dev-20261129T160000Z-r1.db.gz.age").write_bytes(b"")
    systemd.asked.clear()
    assert status._snapshots(wanted, report) == [
        "The snapshot of 2026-11-29T16:00:00Z failed on this machine: the store is full. Free it.",
        f"This snapshot has not been stored elsewhere: {place}/dev-20261129T160000Z-r1.db.gz.age.",
    ]


@pytest.mark.parametrize(("minutes", "says"), [(-3, "0 min"), (119, "119 min"), (2879, "47 h"), (14400, "10 days")])
def test_status_says_how_old_the_last_one_is(minutes: int, says: str) -> None:
    taken = datetime.datetime.now().timestamp() - minutes * 60
    last = {"taken": taken, "member": "etcd-2", "name": "N", "place": "s3:b/p", "keys": 7}
    assert status._last_snapshot({"last": last}) == f"{says} ago by etcd-2: N in s3:b/p, 7 keys"
