"""The snapshot before a version change: taken once, verified, and a few of them kept."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from components.node.data import snapshot
from components.node.protocol import etcd
from components.node.shared import spec
from components.node.shared.errors import NodeError

from .node_support import a_spec, a_status

CONTENT = b"x" * 4096


class Etcd:
    """Replaces etcdctl and etcdutl of the running release."""

    def __init__(self) -> None:
        self.saved = 0
        self.revision = 1000
        self.write = CONTENT + hashlib.sha256(CONTENT).digest()

    def etcdctl(self, _: spec.Spec, __: Sequence[str], words: Sequence[str], ___: float) -> None:
        assert list(words[:2]) == ["snapshot", "save"]
        Path(words[2]).write_bytes(self.write)
        self.saved += 1

    def run(self, argv: Sequence[str], _: float) -> Any:
        assert argv[1:3] == ["snapshot", "status"]
        said = json.dumps({"hash": 1, "revision": self.revision, "totalKey": 7, "totalSize": 4096})
        return type("Done", (), {"stdout": said})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Etcd:
    fake = Etcd()
    monkeypatch.setattr(etcd, "etcdctl", fake.etcdctl)
    monkeypatch.setattr(snapshot, "run", fake.run)
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)
    return fake


def _keep(tmp_path: Path) -> list[str]:
    now = a_spec(
        data_directory=str(tmp_path / "etcd"), release={"version": "3.7.3", "mirror": "http://x.example", "sha256": {}}
    )
    status = a_status(1)
    snapshot.keep(now, "3.6.16", now.address, type(status)(**{**vars(status), "revision": 1000}))
    return sorted(path.name for path in (tmp_path / "etcd.snapshots").iterdir())


def test_a_snapshot_is_beside_the_data_and_readable_by_root_only(tmp_path: Path, fake: Etcd) -> None:
    [name] = _keep(tmp_path)
    assert name.startswith("dev-3.6.16-to-3.7.3-")
    assert fake.saved == 1
    place = tmp_path / "etcd.snapshots"
    assert (place.stat().st_mode & 0o777, (place / name).stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_resumed_run_reuses_its_snapshot(tmp_path: Path, fake: Etcd) -> None:
    first = _keep(tmp_path)
    assert _keep(tmp_path) == first
    assert fake.saved == 1
    # An old snapshot lacks the writes since.
    path = tmp_path / "etcd.snapshots" / first[0]
    yesterday = time.time() - 86400
    os.utime(path, (yesterday, yesterday))
    path.rename(path.with_name("dev-3.6.16-to-3.7.3-20200101T000000Z.db"))
    assert len(_keep(tmp_path)) == 2


def test_each_change_takes_a_snapshot_and_removes_the_oldest(tmp_path: Path, fake: Etcd) -> None:
    place = tmp_path / "etcd.snapshots"
    place.mkdir()
    old = [f"dev-3.5.35-to-3.6.{n}-202{n}0101T000000Z.db" for n in range(3)]
    others = ["dev-east-3.5.35-to-3.6.1-20100101T000000Z.db", "by-hand.db"]
    for name in [*old, *others]:
        (place / name).write_bytes(b"")
    left = _keep(tmp_path)
    assert fake.saved == 1
    assert set(left) > {*others, old[1], old[2]}
    assert old[0] not in left


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"write": CONTENT}, "not a snapshot with a checksum"),
        ({"write": CONTENT + b"0" * 32}, "SHA-256 does not match"),
        ({"revision": 999}, "ends at revision 999, and the member had 1000"),
    ],
)
def test_a_damaged_or_old_snapshot_stops_the_change(
    tmp_path: Path, fake: Etcd, change: dict[str, Any], said: str
) -> None:
    vars(fake).update(change)
    with pytest.raises(NodeError, match=said) as caught:
        _keep(tmp_path)
    assert "nothing was changed" in caught.value.cause


def test_without_space_for_a_snapshot_nothing_is_changed(
    tmp_path: Path, fake: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 << 20))
    with pytest.raises(NodeError, match=r"has 100 MiB free; .* needs 256 MiB; nothing was changed"):
        _keep(tmp_path)
    assert fake.saved == 0


def test_snapshots_of_a_retired_member_are_moved_aside(tmp_path: Path, fake: Etcd) -> None:
    names = _keep(tmp_path)
    moved = snapshot.put_aside(str(tmp_path / "etcd"), "dev-retired")
    assert moved is not None
    assert moved.name.startswith("etcd.snapshots.dev-retired-")
    assert [path.name for path in moved.iterdir()] == names
    assert snapshot.put_aside(str(tmp_path / "etcd"), "dev-retired") is None
    assert fake.saved == 1
