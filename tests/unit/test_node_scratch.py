"""A snapshot is restored and served by an etcd that has no port, with the programs of every supported minor."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.node.backup import proof, scratch
from components.node.data import snapshot
from components.node.protocol import snapshot_file
from components.node.service import release
from components.node.shared import paths
from components.node.shared.errors import NodeError
from tests.support.versions import DEFAULT_ETCD, ETCD_VERSIONS
from tools.etcd import etcd_binary

SECONDS = 60.0


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(release, "directory", lambda version: etcd_binary(version, "etcd").parent)
    monkeypatch.setattr(paths, "DRILL_RUN", tmp_path / "run")
    paths.DRILL_RUN.mkdir()
    scratch.directory(str(tmp_path / "etcd")).mkdir(parents=True)
    return str(tmp_path / "etcd")


def _post(page: str, **content: Any) -> None:
    code, said = scratch._request("clients:1", "POST", page, content)
    assert code == 200, said


def _put(key: str, **more: str) -> None:
    _post("/v3/kv/put", key=base64.b64encode(key.encode()).decode(), value="YQ==", **more)


def take(data: str, version: str, *, authentication: bool = False) -> None:
    """Makes `snapshot.db` of an etcd with three keys, one of them written twice, one deleted, and one with a lease."""
    place = scratch.directory(data)
    words = [
        str(etcd_binary(version, "etcd")),
        f"--data-dir={place / 'first'}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    words += ["--listen-client-urls=unix://clients:1", "--listen-peer-urls=unix://peers:1"]
    words += ["--advertise-client-urls=http://127.0.0.1:1", f"--initial-advertise-peer-urls={scratch._URL}"]
    with scratch._running([*words, f"--initial-cluster=default={scratch._URL}"], place / "log") as process:
        scratch._wait(process, place / "log", SECONDS)
        _post("/v3/lease/grant", TTL="15", ID="7")
        for key in ("a", "b", "gone", "a"):
            _put(key)
        _put("short", lease="7")
        _post("/v3/kv/deleterange", key=base64.b64encode(b"gone").decode())
        etcdctl = [str(etcd_binary(version, "etcdctl")), f"--endpoints=unix://{paths.DRILL_RUN}/clients:1"]
        if authentication:
            for command in ("user add root:secret", "user grant-role root root", "auth enable"):
                subprocess.run([*etcdctl, *command.split()], check=True, capture_output=True, timeout=30)
            etcdctl.append("--user=root:secret")
        subprocess.run(
            [*etcdctl, "snapshot", "save", str(place / "snapshot.db")], check=True, capture_output=True, timeout=30
        )


@pytest.mark.parametrize(
    ("version", "authentication"), [*((version, False) for version in ETCD_VERSIONS), (DEFAULT_ETCD, True)]
)
def test_a_restored_etcd_has_what_the_snapshot_has(data: str, version: str, authentication: bool) -> None:
    take(data, version, authentication=authentication)
    path = scratch.directory(data) / "snapshot.db"
    content = snapshot.content_of(path, version, SECONDS)
    before = snapshot_file.revisions(path, content.revision)
    served, database = scratch.serve(data, version, content.revision, SECONDS)
    after = snapshot_file.revisions(database, content.revision)
    assert (served.revision, served.keys, before.count) == (content.revision, None if authentication else 3, 6)
    assert proof.unlike_served(content, before, after, served, version) == []
    assert before == after

    # And something else is noticed.
    assert proof.unlike_served(content, snapshot_file.revisions(path, content.revision - 1), after, served, version)


def test_an_etcd_that_does_not_start_is_told(data: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "etcdutl").write_text("#!/bin/sh\n")
    fatal = json.dumps({"level": "fatal", "msg": "no space"})
    (programs / "etcd").write_text(f"#!/bin/sh\necho '{fatal}' >&2\nexit 3\n")
    for path in programs.iterdir():
        path.chmod(0o755)
    monkeypatch.setattr(release, "directory", lambda _: programs)
    with pytest.raises(NodeError, match="the restored etcd ended with 3: fatal: no space"):
        scratch.serve(data, DEFAULT_ETCD, 7, SECONDS)


def test_without_room_or_memory_nothing_is_restored(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)
    asked: list[str] = []
    monkeypatch.setattr(scratch, "run", lambda argv, _: asked.extend(argv[-2:]))
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2000 << 20))
    monkeypatch.setattr(scratch, "_memory", lambda: 1000 << 20)
    with pytest.raises(NodeError, match="has 2000 MiB free; a drill needs 2432 MiB"):
        scratch.refuse_room(data, 1 << 30)
    with pytest.raises(NodeError, match="1000 MiB of memory are available; a drill needs 1312 MiB"):
        scratch.refuse_room(data, 800 << 20)
    assert asked == []
    scratch.refuse_room(data, 100 << 20)
    assert asked == [f"MemoryHigh={612 << 20}", f"MemoryMax={712 << 20}"]
