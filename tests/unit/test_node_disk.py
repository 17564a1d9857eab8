"""A data disk: what counts as empty, and what is left alone. Files replace disks, because blkid reads both."""

import os
import subprocess
from pathlib import Path

import pytest

from components.node.data import disk
from components.node.shared.errors import NodeError
from tests.support.needs import require_program

SIZE = 16 << 20


@pytest.fixture
def device(tmp_path: Path) -> Path:
    require_program("mkfs.ext4", "e2fsprogs")
    file = tmp_path / "disk"
    with file.open("wb") as opened:
        opened.truncate(SIZE)
    return file


def write(device: Path, offset: int, content: bytes) -> None:
    with device.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_a_disk_of_zeros_is_empty(device: Path) -> None:
    assert disk._kind_of(device, "the disk") == ""


def test_a_file_system_is_recognised(device: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", device], check=True, timeout=30)
    assert disk._kind_of(device, "the disk") == "ext4"


@pytest.mark.parametrize("offset", [0, 1 << 20, SIZE - 512], ids=["beginning", "first MiB", "end"])
def test_a_disk_with_unknown_content_is_refused(device: Path, offset: int) -> None:
    write(device, offset, b"precious")
    with pytest.raises(NodeError, match="not empty either; it is untouched"):
        disk._kind_of(device, "the disk")


def test_another_file_system_and_a_partition_table_are_refused(device: Path) -> None:
    subprocess.run(["mkswap", device], check=True, timeout=30, capture_output=True)
    with pytest.raises(NodeError, match="the disk holds swap"):
        disk._kind_of(device, "the disk")
    write(device, 0, bytes(8192))
    write(device, 0x1BE, bytes.fromhex("00020200 83030300 00080000 00100000"))
    write(device, 510, b"\x55\xaa")
    with pytest.raises(NodeError, match="the disk holds dos"):
        disk._kind_of(device, "the disk")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/var/lib/etcd", "var-lib-etcd.mount"),
        ("/srv/etcd-data/.1", "srv-etcd\\x2ddata-\\x2e1.mount"),
        ("/data_1/a+b", "data_1-a\\x2bb.mount"),
    ],
)
def test_a_mount_unit_has_systemds_name(path: str, name: str) -> None:
    assert disk.unit_name(path) == name


def test_a_change_of_owner_that_was_interrupted_is_completed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "member" / "wal").mkdir(parents=True)
    for file in ("wal/0.wal", "wal/1.wal", "db"):
        (tmp_path / "member" / file).touch()
    other, changed = os.getuid() + 1, list[str]()
    owners: dict[str, int] = {}

    def chown(path: str, uid: int, _: int, **__: bool) -> None:
        if len(changed) == lasts:
            raise OSError("power cut")
        changed.append(str(path))
        owners[str(path)] = uid

    real = Path.stat
    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(
        Path,
        "stat",
        lambda path, **how: os.stat_result([*real(path, **how)[:4], owners.get(str(path), 0), 0, 0, 0, 0, 0]),
    )
    for fails_after in range(5):
        lasts = fails_after
        owners.clear()
        changed.clear()
        with pytest.raises(OSError, match="power cut"):
            disk.own(tmp_path, other, other)
        lasts = 99
        disk.own(tmp_path, other, other)
        assert set(owners) == {str(path) for path in tmp_path.rglob("*")}
