"""A restore on one machine: beside the data first, then in their place, from wherever it was interrupted."""

import base64
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.node.cluster import marker, rotation
from components.node.data import directory, identity, restored
from components.node.machine import account
from components.node.protocol import etcd
from components.node.service import certificates, manager, member, systemd
from components.node.shared import files, paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Bundle, Restore, Spec, Stages
from components.node.verbs import restore as verb

from .node_support import a_spec

SNAPSHOT = b"what the cluster had"
SHA256 = hashlib.sha256(SNAPSHOT).hexdigest()
FOLDER = f"{restored.FOLDER}1"


class KilledError(Exception):
    """The process ended here."""


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Spec:
    """A machine with a member's data and the snapshot, and an etcdutl that restores it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "RESTORED", tmp_path / "restored.json")
    monkeypatch.setattr(account, "get", lambda: account.Account(os.getuid(), os.getgid()))
    monkeypatch.setattr(directory, "check_room", lambda *_: 0)
    data = tmp_path / "etcd"
    (data / "member" / "wal").mkdir(parents=True)
    (data / "member" / "old").write_text("old")
    _bring_snapshot(tmp_path)

    def run(argv: list[str], *_: object, **__: object) -> subprocess.CompletedProcess[str]:
        if "restore" in argv:
            place = Path(next(word for word in argv if word.startswith("--data-dir="))[11:])
            assert not place.exists(), "etcdutl refuses a directory that exists"
            (place / "member" / "wal").mkdir(parents=True)
            (place / "member" / "words").write_text("\n".join(argv))
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(restored, "run", run)
    told = {"number": 3, "token": "dev-1234", "sha256": SHA256, "accept": []}
    return a_spec(data_directory=str(data), restore=told)


def _bring_snapshot(place: Path) -> None:
    (place / FOLDER).mkdir(exist_ok=True)
    (place / FOLDER / "snapshot.db").write_bytes(SNAPSHOT)


def wanted(spec: Spec) -> Restore:
    assert spec.restore is not None
    return spec.restore


def test_a_staged_restore_leaves_the_data_and_no_copy_of_the_snapshot(spec: Spec, tmp_path: Path) -> None:
    restored.stage(spec, wanted(spec), FOLDER)
    assert (tmp_path / "etcd" / "member" / "old").read_text() == "old"
    assert not (tmp_path / FOLDER).exists()
    words = (tmp_path / "etcd.etcd-restored" / "member" / "words").read_text().splitlines()
    for word in (
        "--bump-revision=3000000000",
        "--mark-compacted",
        "--initial-cluster-token=dev-1234",
        "--name=etcd-1",
        "--initial-advertise-peer-urls=https://10.99.0.11:2380",
        "--initial-cluster="
        "etcd-1=https://10.99.0.11:2380,etcd-2=https://10.99.0.12:2380,etcd-3=https://10.99.0.13:2380",
    ):
        assert word in words
    assert "--skip-hash-check" not in words
    restored.stage(spec, wanted(spec), FOLDER)  # without the snapshot


def test_another_or_a_missing_snapshot_changes_nothing(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / FOLDER / "snapshot.db").write_bytes(SNAPSHOT + b"!")
    with pytest.raises(NodeError, match="this restore began with"):
        restored.stage(spec, wanted(spec), FOLDER)
    files.remove_tree(tmp_path / FOLDER)
    with pytest.raises(NodeError, match="is not on this machine"):
        restored.stage(spec, wanted(spec), FOLDER)
    with pytest.raises(NodeError, match="are not on this machine"):
        restored.put_in_place(spec, wanted(spec))
    assert (tmp_path / "etcd" / "member" / "old").exists()
    assert not (tmp_path / "etcd.etcd-restored").exists()


def test_what_another_restore_has_staged_is_not_taken(spec: Spec, tmp_path: Path) -> None:
    restored.stage(spec, wanted(spec), FOLDER)
    (tmp_path / "etcd.etcd-restored" / "member" / ".restored").write_text("dev-another")
    with pytest.raises(NodeError, match="are not on this machine"):
        restored.put_in_place(spec, wanted(spec))
    _bring_snapshot(tmp_path)
    restored.stage(spec, wanted(spec), FOLDER)
    restored.put_in_place(spec, wanted(spec))
    assert restored.of(spec) == "dev-1234"


@pytest.mark.parametrize("mounted", [False, True])
def test_a_restore_that_is_killed_anywhere_is_completed_and_loses_no_old_data(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: bool
) -> None:
    if mounted:
        monkeypatch.setattr(directory, "mount_of", lambda _: str(tmp_path / "etcd"))
    stamps = iter(range(1000))
    monkeypatch.setattr(time, "strftime", lambda *_: f"at-{next(stamps)}")
    calls = {"left": 0}

    def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            calls["left"] -= 1
            if calls["left"] == 0:
                raise KilledError
            return function(*args, **more)

        return call

    for name in ("directory", "sync_directory", "remove_tree", "write"):
        monkeypatch.setattr(files, name, mortal(getattr(files, name)))
    monkeypatch.setattr(Path, "rename", mortal(Path.rename))
    monkeypatch.setattr(Path, "mkdir", mortal(Path.mkdir))

    def once() -> None:
        if restored.of(spec) != "dev-1234":
            restored.stage(spec, wanted(spec), FOLDER)
            restored.put_in_place(spec, wanted(spec))
        restored.record(wanted(spec))

    killed = 0
    for moment in range(1, 100):
        calls["left"] = moment
        try:
            once()
        except KilledError:
            killed += 1
            calls["left"] = 0
            # The next run brings the snapshot again.
            _bring_snapshot(tmp_path)
            assert len([*tmp_path.rglob("old")]) == 1
            continue
        break
    assert killed >= 5
    assert restored.of(spec) == "dev-1234"
    (old,) = tmp_path.rglob("old")
    assert "before-restore-3" in str(old)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    calls["left"] = 0
    once()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before, "it is done once"


def test_restored_data_that_are_gone_are_not_restored_again(spec: Spec, tmp_path: Path) -> None:
    restored.stage(spec, wanted(spec), FOLDER)
    restored.put_in_place(spec, wanted(spec))
    restored.record(wanted(spec))
    assert json.loads((tmp_path / "restored.json").read_text())["number"] == 3
    files.remove_tree(tmp_path / "etcd")
    _bring_snapshot(tmp_path)
    restored.stage(spec, wanted(spec), FOLDER)
    with pytest.raises(NodeError, match="were here, and are gone"):
        restored.put_in_place(spec, wanted(spec))


@pytest.mark.parametrize(
    ("found", "accept", "refused"),
    [
        (["data", "data", "data"], [], True),
        (["data", "data", ""], [], True),
        (["data", "", ""], [], False),
        (["", "", ""], [], False),
        (["data", "data quorum", "data"], [], False),
        (["data begun", "data", "data"], [], False),
        (["data", "data", ""], ["majority-away"], False),
    ],
)
def test_a_majority_that_is_merely_away_is_named(
    spec: Spec, found: list[str], accept: list[str], refused: bool
) -> None:
    answers = {
        f"etcd-{number}": {key: key in said for key in ("begun", "data", "quorum")}
        for number, said in enumerate(found, start=1)
    }
    restore = Restore(3, "dev-1234", SHA256, tuple(accept))
    if refused:
        with pytest.raises(NodeError, match="a majority of the members is merely away: etcd-1, etcd-2"):
            verb._refuse_away(spec, restore, Stages("1", answers))
    else:
        verb._refuse_away(spec, restore, Stages("1", answers))


def test_different_snapshots_under_one_name_are_refused() -> None:
    """Those of an earlier run count; a machine that an earlier version of this program has restored says nothing."""
    rows: list[tuple[str, dict[str, Any]]] = [
        ("etcd-1", {"sha256": "ab" * 32}),
        ("etcd-2", {}),
        ("etcd-3", {"sha256": ""}),
    ]
    verb._refuse_different(Stages("1", dict(rows)))
    verb._refuse_different(Stages("1", {**dict(rows), "etcd-3": {"sha256": "ab" * 32}}))
    with pytest.raises(NodeError, match=r"different snapshots under one name \(SHA-256: etcd-1 abab.*, etcd-3 cdcd"):
        verb._refuse_different(Stages("1", {**dict(rows), "etcd-3": {"sha256": "cd" * 32}}))


def test_restored_data_say_from_which_snapshot_they_are(spec: Spec) -> None:
    named = replace(wanted(spec), source="dev-20261129T160000Z-r48.db.gz.age")
    assert restored.mark(spec, named) == restored.Mark()
    restored.stage(spec, named, FOLDER)
    told = restored.Mark("dev-1234", SHA256, named.source)
    assert restored.mark(spec, named) == told
    restored.put_in_place(spec, named)
    assert restored.mark(spec, named) == told
    # As an earlier version of this program has left it.
    (Path(spec.data_directory) / "member" / ".restored").write_text("dev-1234")
    assert restored.mark(spec, named) == restored.Mark("dev-1234")
    assert restored.of(spec) == "dev-1234"


def test_a_healthy_cluster_has_its_name_in_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    there: dict[str, str] = {}

    def etcdctl(_: Spec, __: object, words: list[str]) -> tuple[int, Any, str]:
        asked.append(words[0])
        if words[0] == "put":
            there[words[1]] = words[2]
        rows = [{"value": base64.b64encode(each.encode()).decode()} for each in there.values()]
        return 0, {"kvs": rows} if rows else {}, ""

    asked: list[str] = []
    monkeypatch.setattr(etcd, "etcdctl", etcdctl)
    for expected in (["get", "put"], ["get"]):
        asked.clear()
        marker.settle(a_spec(), ["10.99.0.11"])
        assert asked == expected
        assert there == {"external-etcd/cluster": "dev"}
    there["external-etcd/cluster"] = "of-a-snapshot"
    marker.settle(a_spec(), ["10.99.0.11"])
    assert there == {"external-etcd/cluster": "dev"}


@pytest.mark.parametrize("runs", [False, True])
def test_a_start_waits_until_the_member_answers_its_peers(
    spec: Spec, monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    """The next member asks it when it starts, and would wait 7 s for an answer."""
    done: list[str] = []

    def peer_view(_: Spec, address: str, **__: float) -> etcd.Membership:
        done.append(address)
        if len(done) < 3:
            raise etcd.SilentError("it starts")
        return etcd.Membership(1, ())

    service = systemd.Service("active", "", int(runs), 0, "", True, False, False)
    monkeypatch.setattr(identity, "load", lambda: identity.Identity("dev", "etcd-1", spec.data_directory))
    monkeypatch.setattr(etcd, "peer_view", peer_view)
    monkeypatch.setattr(manager, "show", lambda: service)
    monkeypatch.setattr(manager, "start", lambda: done.append("start"))
    for module, name in (
        (identity, "refuse_another"),
        (identity, "refuse_other_authority"),
        (certificates, "authority"),
        (certificates, "install"),
        (member, "forbid"),
        (member, "install_unit"),
        (rotation, "refuse_too_early"),
    ):
        monkeypatch.setattr(module, name, lambda *_: None)
    verb.start(spec, Bundle("", {}))
    assert done == ([] if runs else ["start", spec.address, spec.address])
