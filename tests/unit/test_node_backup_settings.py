"""What the configuration of snapshots puts on a machine, and what `status` says of them."""

import datetime
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.node.backup import archive, settings
from components.node.shared import files, paths
from components.node.shared.errors import NodeError
from components.node.verbs import status
from components.plan.backup import BackupPlan, backup_spec

from .node_support import a_spec

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
RAW = backup_spec(BackupPlan([RECIPIENT], "*:0/15", directory="/mnt/share"), "http://releases.lab")
FILES = {
    "BACKUP_STORE": "rclone.conf",
    "BACKUP_RESULT": "backup.json",
    "BACKUP_LOCK": "lock",
    "BACKUP_PROGRAMS": "programs",
    "BACKUP_UNIT_FILE": "etcd-snapshot.service",
    "BACKUP_TIMER_FILE": "etcd-snapshot.timer",
    "BACKUP_TIMER_WANTED": "wants/etcd-snapshot.timer",
}


class Systemd:
    """Records what is asked of systemd."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.code = 0

    def run(self, argv: list[str], *_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        self.asked.append(" ".join(argv))
        return subprocess.CompletedProcess(argv, self.code, "active\n", "Failed to parse")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    found = Systemd()
    monkeypatch.setattr(settings, "run", found.run)
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


def test_without_snapshots_nothing_of_them_is_left(systemd: Systemd, tmp_path: Path) -> None:
    settings.install(a_spec(), {})
    assert systemd.asked == []
    settings.install(a_spec(backup=RAW), {})
    files.directory(paths.BACKUP_PROGRAMS)
    settings.install(a_spec(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["wants"]
    assert systemd.asked[-1] == "systemctl daemon-reload"


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
