"""The snapshot in the store from which a cluster is restored: which one it is, and which ones are refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from components.node.backup import store, stored
from components.node.backup.retrieve import Retrieved
from components.node.cluster.claim import Claim
from components.node.data import identity, restored
from components.node.protocol.snapshot_file import SnapshotFile, read
from components.node.service import release
from components.node.shared import paths
from components.node.shared import spec as node_spec
from components.node.shared.errors import NodeError
from components.node.shared.spec import Bundle, Restore, Spec, Stages
from components.node.verbs import find as find_verb
from components.node.verbs import stage as stage_verb
from components.plan.backup import BackupPlan, S3Plan, backup_spec
from tests.support.snapshot_files import snapshot

from .node_support import a_spec

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
RAW = backup_spec(BackupPlan([RECIPIENT], s3=S3Plan("etcd", region="eu")), "http://releases.lab")
OLD, NEW = "dev-20261129T150000Z-r40.db.gz.age", "dev-20261129T160000Z-r48.db.gz.age"
OTHERS = ["notes.txt", "prod-20271129T160000Z-r9.db.gz.age", "dev-east-20271129T160000Z-r9.db.gz.age"]


def spec(source: str, /, *accept: str, **more: Any) -> Spec:
    told = {"number": 1, "token": "dev-1", "sha256": "", "accept": list(accept), "from": source}
    return a_spec(backup=RAW, restore=told, **more)


def bundle(key: str = "key") -> Bundle:
    return Bundle("", {}, store={"access_key_id": "AKIA"}, restore=Stages("1", {}, key))


def find(source: str, names: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(store, "listed", lambda _: names)
    wanted = spec(source)
    assert wanted.restore is not None and wanted.backup is not None
    return stored.find(wanted, wanted.restore, wanted.backup)


def test_the_newest_is_the_latest_of_this_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("newest", [NEW, OLD, *OTHERS], monkeypatch) == NEW
    idle = NEW.replace("r48", "r40")
    assert find("newest", [idle, OLD], monkeypatch) == idle


def test_the_newest_is_refused_if_a_clock_was_wrong_or_another_cluster_stored_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = NEW.replace("r48", "r39")
    with pytest.raises(NodeError, match=f"{later} has the latest time, and {OLD} a higher revision; nothing was"):
        find("newest", [OLD, later], monkeypatch)
    assert find(OLD, [OLD, later], monkeypatch) == OLD


def test_a_snapshot_that_is_not_in_the_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(OLD, [NEW, OLD], monkeypatch) == OLD
    with pytest.raises(NodeError, match=f"there is no {OLD} in s3:etcd: it has 1 files, and 1 snapshots of dev"):
        find(OLD, [NEW], monkeypatch)
    with pytest.raises(NodeError, match="there is no snapshot of dev in s3:etcd: it has 3 files, and 0 snapshots"):
        find("newest", OTHERS, monkeypatch)


def test_a_restore_that_has_begun_here_keeps_its_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the store cannot be reached any more."""
    monkeypatch.setattr(identity, "load", lambda: None)
    monkeypatch.setattr(identity, "refuse_another", lambda *_: None)
    monkeypatch.setattr(restored, "mark", lambda *_: restored.Mark("dev-1", "ab", OLD))
    assert find_verb.find(spec("newest"), bundle()) == OLD


@pytest.mark.parametrize(
    ("cluster", "series", "accept", "why"),
    [
        ("dev", "3.6", (), ""),
        ("dev", "3.5", (), ""),
        ("dev", "", (), ""),
        ("", "3.6", ("unknown-cluster",), ""),
        ("", "3.6", (), "does not say of which cluster it is"),
        ("prod", "3.6", ("unknown-cluster",), "is a snapshot of the cluster 'prod', not of dev"),
        ("dev", "3.7", (), "is of etcd 3.7, and etcd 3.6.16 is made for"),
        ("dev", "3.4", (), "is of etcd 3.4"),
        ("dev", "4.6", (), "is of etcd 4.6"),
    ],
)
def test_a_snapshot_of_another_cluster_or_version_is_refused(
    cluster: str, series: str, accept: tuple[str, ...], why: str
) -> None:
    wanted = spec(NEW, *accept)
    assert wanted.restore is not None
    says = SnapshotFile("ab", 1, 48, cluster, series)
    if why:
        with pytest.raises(NodeError, match=why) as caught:
            stored.refuse(wanted, wanted.restore, says)
        assert "nothing was changed" in caught.value.cause
    else:
        stored.refuse(wanted, wanted.restore, says)


def test_a_snapshot_under_the_name_of_another_one_is_refused() -> None:
    wanted = spec(NEW, "unknown-cluster")
    assert wanted.restore is not None
    with pytest.raises(NodeError, match=f"{NEW} has the revision 47, so it is not the snapshot of this name"):
        stored.refuse(wanted, wanted.restore, SnapshotFile("ab", 1, 47, "dev", "3.6"))


class Machine:
    """A machine with data; its store has one snapshot, which decrypts to the file `plain`."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "etcd"
        (self.data / "member" / "wal").mkdir(parents=True)
        self.plain = snapshot(directory / "plain.db", "dev", revisions=(2, 48))
        self.keys: list[str] = []
        self.staged: list[Restore] = []

    def retrieve(self, _: object, __: str, key: str, target: Path) -> Retrieved:
        self.keys.append(key)
        target.write_bytes(self.plain.read_bytes())
        return Retrieved(read(target).sha256, target.stat().st_size)

    def stage(self, _: Spec, restore: Restore, folder: str) -> None:
        assert Path(folder, "snapshot.db").exists() or self.staged
        self.staged.append(restore)

    def mark(self, *_: object) -> restored.Mark:
        return restored.Mark("dev-1", self.staged[0].sha256, NEW) if self.staged else restored.Mark()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)
    monkeypatch.setattr(paths, "BACKUP_STORE", tmp_path / "rclone.conf")
    monkeypatch.setattr(identity, "load", lambda: identity.Identity("dev", "etcd-1", str(found.data)))
    monkeypatch.setattr(identity, "refuse_other_authority", lambda *_: None)
    monkeypatch.setattr("components.node.service.certificates.authority", lambda _: ())
    monkeypatch.setattr(release, "ensure", lambda _: None)
    monkeypatch.setattr(Claim, "hold", lambda *_: None)
    monkeypatch.setattr(stage_verb, "_serving", lambda _: [])
    monkeypatch.setattr(stored, "retrieve", found.retrieve)
    monkeypatch.setattr(restored, "stage", found.stage)
    monkeypatch.setattr(restored, "mark", found.mark)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    for call in ("fchown", "chown"):
        monkeypatch.setattr(f"components.node.shared.files.os.{call}", lambda *_: None)
    return found


def test_a_stage_fetches_the_snapshot_once_and_keeps_no_copy(machine: Machine) -> None:
    wanted = spec(NEW, data_directory=str(machine.data))
    sha256 = read(machine.plain).sha256
    for _ in range(2):
        said = json.loads(stage_verb.stage(wanted, bundle()))
        assert said == {"begun": False, "data": True, "quorum": False, "sha256": sha256}
    assert machine.keys == ["key"]
    assert machine.staged[0].sha256 == sha256
    assert not stored.folder(wanted).exists()
    assert "AKIA" in paths.BACKUP_STORE.read_text()
    assert "key = key" not in paths.BACKUP_STORE.read_text()


@pytest.mark.parametrize("cluster", ["other", ""])
def test_a_refused_snapshot_leaves_nothing(machine: Machine, cluster: str) -> None:
    snapshot(machine.plain, cluster)
    wanted = spec(NEW, data_directory=str(machine.data))
    with pytest.raises(NodeError, match="nothing was changed"):
        stage_verb.stage(wanted, bundle())
    assert machine.staged == []
    assert not stored.folder(wanted).exists()


def test_no_error_and_no_text_of_the_bundle_has_the_private_key() -> None:
    stages = Stages("1", {}, "geheim")
    assert "geheim" not in repr(stages) + repr(Bundle("", {}, restore=stages))
    with pytest.raises(NodeError) as caught:
        node_spec._stages({"run": "1", "identity": ["geheim"]})
    assert "restore.identity" in str(caught.value)
    assert "geheim" not in str(caught.value)
