"""The drill: who has the key of the newest snapshot, what is compared, and what is remembered."""

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from components.node.backup import archive, drill_key, drill_unit, proof, retrieve, scratch, store, turn
from components.node.cluster import lease
from components.node.data.snapshot import Content
from components.node.protocol import etcd, snapshot_file
from components.node.service import member as service_member
from components.node.shared import backup, paths, spec
from components.node.shared.errors import NodeError
from components.node.verbs import drill as verb
from components.node.verbs import snapshot as snapshot_verb
from components.node.verbs import status as status_verb
from components.plan.backup import NEVER, BackupPlan, S3Plan, backup_spec
from components.plan.releases import DEFAULT_MIRROR
from tests.support.snapshot_files import snapshot

from .node_support import a_spec, a_status

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
PLAN = BackupPlan([RECIPIENT], s3=S3Plan("etcd", region="eu"))
RAW = backup_spec(PLAN, DEFAULT_MIRROR)
IDENTITY = "AGE-SECRET-KEY-1" + "Q" * 58
NAME = "dev-20261129T163502Z-r300.db.gz.age"
STORED: dict[str, Any] = {
    "name": NAME,
    "place": "s3:etcd",
    "member": "etcd-2",
    "taken": 1795970102,
    "revision": 300,
    "keys": 7,
    "hash": "0000002a",
    "bytes": 900,
    "database_bytes": 4096,
    "version": "3.6.16",
}
CONTENT = Content(300, 7, 42)
NEWER = {**STORED, "name": "dev-20261129T173502Z-r400.db.gz.age", "revision": 400, "member": "etcd-3"}


class Cluster:
    """Replaces etcd and the machine of etcd-2, which has the key of the newest snapshot."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {turn.LAST: STORED}
        self.leader = 1
        self.error: NodeError | None = None
        self.meanwhile: dict[str, Any] = {}
        self.content = CONTENT
        self.served = scratch.Served(300, 7, 5)
        self.started = 0

    def find(self, _: spec.Spec, __: Sequence[str], key: str) -> lease.Held | None:
        return lease.Held(self.keys[key], 0) if key in self.keys else None

    def put(self, _: spec.Spec, __: Sequence[str], words: Sequence[str]) -> None:
        assert words[0] == "put"
        self.keys[words[1]] = json.loads(words[2])

    def ask(self, wanted: spec.Spec) -> tuple[list[str], etcd.Status]:
        return list(wanted.members.values()), a_status(int(wanted.member[-1]), leader=self.leader)

    def retrieve(self, _: backup.Backup, name: str, identity: str, target: Path, **__: int) -> None:
        assert (name, identity) == (NAME, IDENTITY)
        self.keys |= self.meanwhile
        if self.error is not None:
            raise self.error
        snapshot(target, "dev")

    def serve(self, data: str, *_: Any) -> tuple[scratch.Served, Path]:
        return self.served, scratch.directory(data) / "snapshot.db"

    def start(self) -> None:
        self.started += 1


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cluster:
    found = Cluster()
    monkeypatch.setattr(lease, "find", found.find)
    monkeypatch.setattr(etcd, "etcdctl", found.put)
    monkeypatch.setattr(turn, "ask", found.ask)
    monkeypatch.setattr(store, "refuse_here", lambda *_: None)
    monkeypatch.setattr(retrieve, "retrieve", found.retrieve)
    monkeypatch.setattr(scratch, "refuse_room", lambda *_: None)
    monkeypatch.setattr(scratch, "serve", found.serve)
    monkeypatch.setattr("components.node.data.snapshot.content_of", lambda *_: found.content)
    monkeypatch.setattr(service_member, "version", lambda: "3.6.16")
    monkeypatch.setattr(drill_unit, "start", found.start)
    monkeypatch.setattr(proof, "_ASK_SECONDS", 0.0)
    for name in ("DRILL_KEY", "DRILL_RESULT", "INSTALLED"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    monkeypatch.setattr(paths, "DRILL_RUN", tmp_path)
    for call in ("fchown", "chown"):
        monkeypatch.setattr(f"components.node.shared.files.os.{call}", lambda *_: None)
    drill_key.keep(drill_key.DrillKey("age1", IDENTITY), STORED)
    return found


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(tmp_path / "data" / "etcd")


def drill(data: str, member: str = "etcd-2") -> str:
    """What the unit's run says, or its error."""
    paths.INSTALLED.write_text(json.dumps(a_spec(member=member, backup=RAW, data_directory=data).raw))
    try:
        return verb.drill(scheduled=True)
    except NodeError as error:
        return str(error)
    finally:
        assert not scratch.directory(data).exists()


# --- the key ----------------------------------------------------------------------------------------------------------


def test_each_snapshot_has_another_key_that_no_command_line_has(monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"# created: 2026-11-29T16:35:02Z\n# public key: {RECIPIENT}\n{IDENTITY}\n"
    asked: list[Sequence[str]] = []

    def run(argv: Sequence[str], _: float) -> Any:
        asked.append(argv)
        return type("Done", (), {"stdout": said})

    monkeypatch.setattr(drill_key, "run", run)
    wanted = backup.parse(RAW)
    assert drill_key.create(wanted) == drill_key.DrillKey(RECIPIENT, IDENTITY)
    assert [len(argv) for argv in asked] == [1]
    flags = archive._flags(wanted, [RECIPIENT[:-1] + "q"])
    assert flags[-2:] == ["--recipient", RECIPIENT[:-1] + "q"]
    said = "nothing"
    with pytest.raises(NodeError, match="age-keygen printed no key"):
        drill_key.create(wanted)


def test_root_alone_has_the_key_until_there_is_a_newer_snapshot(cluster: Cluster) -> None:
    assert paths.DRILL_KEY.stat().st_mode & 0o777 == 0o600
    for last in (None, STORED, {**NEWER, "revision": 299}):
        found = drill_key.kept(last)
        assert found is not None
        assert found["identity"] == IDENTITY
    # Other clients can write to etcd, too.
    for last in (NEWER, {**NEWER, "revision": "x"}):
        drill_key.keep(drill_key.DrillKey("age1", IDENTITY), STORED)
        assert drill_key.kept(last) is None
        assert not paths.DRILL_KEY.exists()


# --- what is compared -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "version", "says"),
    [
        (CONTENT, "3.6.16", []),
        (Content(299, 7, 42), "3.6.16", ["its revision is 299 and not 300"]),
        (Content(300, 8, 42), "3.6.16", ["its number of keys is 8 and not 7"]),
        (Content(300, 8, 42), "3.7.3", []),  # etcdutl of another version can count other things
        (Content(300, 7, 43), "3.7.3", ["its hash is 0000002b and not 0000002a"]),
    ],
)
def test_what_came_back_is_compared_with_what_was_stored(content: Content, version: str, says: list[str]) -> None:
    assert proof.unlike_stored(STORED, content, version) == says


BEFORE = snapshot_file.Revisions(9, "ab" * 32, compacting=False)


@pytest.mark.parametrize(
    ("served", "after", "version", "says"),
    [
        (scratch.Served(300, 7, 5), BEFORE, "3.6.16", ""),
        (scratch.Served(301, 7, 5), BEFORE, "3.6.16", ""),  # a lease has ended
        (scratch.Served(300, None, 5), BEFORE, "3.6.16", ""),  # etcd's authentication is on
        (scratch.Served(299, 7, 5), BEFORE, "3.6.16", "it serves revision 299, and the snapshot has 300"),
        (scratch.Served(300, 6, 5), BEFORE, "3.6.16", "it serves 6 keys, and the snapshot has 7"),
        (scratch.Served(300, 6, 5), BEFORE, "3.5.35", ""),
        (scratch.Served(300, 7, 5), snapshot_file.Revisions(9, "cd" * 32, False), "3.6.16", "it has 9 revisions"),
        (scratch.Served(300, 7, 5), snapshot_file.Revisions(8, "ab" * 32, False), "3.6.16", "it has 8 revisions"),
    ],
)
def test_the_restored_etcd_is_compared_with_the_snapshot(
    served: scratch.Served, after: snapshot_file.Revisions, version: str, says: str
) -> None:
    found = proof.unlike_served(CONTENT, BEFORE, after, served, version)
    assert [line.startswith(says) for line in found] == ([True] if says else [])


def test_a_compaction_that_etcd_completes_is_no_difference() -> None:
    before = snapshot_file.Revisions(9, "ab" * 32, compacting=True)
    after = snapshot_file.Revisions(5, "cd" * 32, compacting=False)
    assert proof.unlike_served(CONTENT, before, after, scratch.Served(300, 7, 5), "3.6.16") == []


def test_writes_are_read_up_to_a_revision(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "a.db", revisions=(2, 129, 300))
    whole, part = (snapshot_file.revisions(path, last) for last in (300, 299))
    assert (whole.count, part.count, whole.compacting) == (4, 3, False)
    assert whole.sha256 != part.sha256
    other = snapshot(tmp_path / "b.db", revisions=(2, 129, 301))
    assert snapshot_file.revisions(other, 300) == part
    (tmp_path / "c.db").write_bytes(b"x" * 9000)
    with pytest.raises(snapshot_file.DamagedError):
        snapshot_file.revisions(tmp_path / "c.db", 300)


# --- who works, and what is remembered --------------------------------------------------------------------------------


def test_a_proved_restore_is_remembered_and_ends_the_key(cluster: Cluster, data: str) -> None:
    cluster.keys[proof.LAST] = {"failed": {"name": NAME, "member": "etcd-2", "cause": "x", "at": 5}}
    assert drill(data).startswith(f"the restore of {NAME} is proved: revision 300, 7 keys, hash 0000002a")
    remembered = proof.last(a_spec(), [])
    assert set(remembered) == {"proved"}
    assert remembered["proved"]["name"] == NAME
    assert not paths.DRILL_KEY.exists()
    assert "etcd-2 has proved the restore of the newest snapshot" in drill(data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"error": NodeError(f"{NAME} is damaged or not complete: age says: x", "y")}, "is damaged or not complete"),
        ({"content": Content(301, 7, 42)}, "is not what was stored under that name: its revision is 301 and not 300"),
        ({"served": scratch.Served(300, 6, 5)}, "it serves 6 keys"),
        ({"error": NodeError("rclone could not read in s3:etcd: x", "y")}, "rclone could not read"),
    ],
)
def test_a_restore_that_fails_is_told_everywhere_and_can_be_repeated(
    cluster: Cluster, data: str, change: dict[str, Any], says: str
) -> None:
    proved = {"name": "a", "place": "b", "member": "etcd-3", "keys": 7, "seconds": 3, "at": 1795970000}
    cluster.keys[proof.LAST] = {"proved": proved}
    for name, value in change.items():
        setattr(cluster, name, value)
    said = drill(data)
    assert says in said
    assert ("etcd-node snapshot" in said) == ("rclone" not in said)
    assert says in drill_unit.result()["cause"]
    remembered = proof.last(a_spec(), [])
    assert remembered["proved"] == proved
    assert says in remembered["failed"]["cause"]
    assert paths.DRILL_KEY.exists()


def test_a_snapshot_of_another_cluster_is_named(cluster: Cluster, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.content = Content(12, 7, 43)
    monkeypatch.setattr(retrieve, "retrieve", lambda _, __, ___, target, **____: snapshot(target, "production"))
    assert f"{NAME} is not what was stored under that name: it is a snapshot of the cluster 'production'" in drill(data)


def test_a_member_without_the_key_says_who_has_it(cluster: Cluster, data: str) -> None:
    drill_key.drop()
    assert drill(data, "etcd-3") == f"etcd-2 has the key of the newest snapshot, {NAME}: it works there"
    del cluster.keys[turn.LAST]
    assert drill(data, "etcd-3") == "no snapshot is stored yet"
    assert proof.LAST not in cluster.keys


def test_a_key_that_is_gone_is_no_error_and_is_told_after_a_day(cluster: Cluster, data: str) -> None:
    drill_key.drop()
    assert "is gone with a restart or a replacement" in drill(data)
    first = drill_unit.result()
    assert "cause" not in first
    assert _hints(first) == []
    drill_unit.record(first["at"] + 86399, {"waits": "x"})
    assert drill_unit.result()["since"] == first["since"]
    assert [hint for hint in _hints(drill_unit.result()) if "The drill has waited since " in hint]
    # Another member has proved a restore meanwhile.
    assert _hints(drill_unit.result(), proved={"at": first["since"] + 60}) == []


def test_the_leader_leaves_the_work_to_a_follower_for_a_day(cluster: Cluster, data: str) -> None:
    cluster.leader = 2
    assert "this member leads the cluster now" in drill(data)
    assert paths.DRILL_KEY.exists()
    paths.DRILL_RESULT.write_text(json.dumps({"at": 5, "waits": "x", "since": int(time.time()) - 86399}))
    assert "is proved" in drill(data)


def test_a_snapshot_that_was_deleted_meanwhile_is_no_failure(cluster: Cluster, data: str) -> None:
    cluster.error, cluster.meanwhile = NodeError(f"there is no {NAME} in s3:etcd", "x"), {turn.LAST: NEWER}
    assert f"{NAME} was deleted when {NEWER['name']} had been stored" in drill(data)
    assert proof.LAST not in cluster.keys
    cluster.meanwhile = {turn.LAST: STORED}
    cluster.keys[turn.LAST] = STORED
    assert f"there is no {NAME}" in drill(data)
    assert "failed" in cluster.keys[proof.LAST]


def test_a_drill_that_was_killed_is_told(cluster: Cluster, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retrieve, "retrieve", killed)
    with pytest.raises(KeyboardInterrupt):
        drill(data)
    assert [hint for hint in _hints(drill_unit.result()) if f"the drill of {NAME} has begun and not ended" in hint]


def test_without_a_drill_none_runs(cluster: Cluster, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    off = backup_spec(BackupPlan([RECIPIENT], s3=S3Plan("etcd", region="eu"), drill=NEVER), DEFAULT_MIRROR)
    paths.INSTALLED.write_text(json.dumps(a_spec(backup=off).raw))
    with pytest.raises(NodeError, match="no drill is configured"):
        verb.drill(scheduled=True)
    paths.INSTALLED.write_text(json.dumps(a_spec(backup=RAW).raw))
    monkeypatch.setattr(paths, "DRILL_RUN", Path("/nowhere"))
    with pytest.raises(NodeError, match="is for systemd"):
        verb.drill(scheduled=True)


@pytest.mark.parametrize(
    ("part", "good"),
    [
        ({"at": 5, "name": "a", "place": "b", "member": "c", "keys": 1, "seconds": 2}, True),
        ({"at": "5", "name": "a", "place": "b", "member": "c", "keys": 1, "seconds": 2}, False),
        ({"at": 1 << 40, "name": "a", "place": "b", "member": "c", "keys": 1, "seconds": 2}, False),
        ({"at": 5, "taken": "5", "name": "a", "place": "b", "member": "c", "keys": 1, "seconds": 2}, False),
        ({"at": 5, "name": "a", "place": "b", "member": "c", "seconds": 2}, False),
        ([], False),
        (None, False),
    ],
)
def test_a_proof_that_another_client_has_written_is_none(cluster: Cluster, part: object, good: bool) -> None:
    cluster.keys[proof.LAST] = {"proved": part}
    assert proof.last(a_spec(), []) == ({"proved": part} if good else {})


# --- the snapshot and the drill ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remembered", "ran", "begins"),
    [
        ({}, 0, True),  # none was proved yet
        ({"proved": 1000}, 0, False),
        ({"proved": 1000}, 1500, False),  # the timers of all members went off for that drill
        ({"proved": 1000}, 2000, True),  # the timer went off, and the key was gone, or it failed
    ],
)
def test_a_snapshot_begins_the_drill_that_is_due(
    cluster: Cluster, remembered: dict[str, int], ran: int, begins: bool
) -> None:
    form = {"name": "a", "place": "b", "member": "c", "keys": 1, "seconds": 2}
    cluster.keys[proof.LAST] = {kind: {**form, "at": at} for kind, at in remembered.items()}
    if ran:
        drill_unit.record(ran, {"waits": "x"})
    snapshot_verb._begin_drill(a_spec(backup=RAW), [])
    assert bool(cluster.started) == begins


@pytest.mark.parametrize("drilled", [True, False])
def test_a_snapshot_is_encrypted_for_its_own_key_which_replaces_the_last_one(
    cluster: Cluster, data: str, monkeypatch: pytest.MonkeyPatch, drilled: bool
) -> None:
    made = Path(data).with_name(NEWER["name"])
    made.parent.mkdir()
    made.write_bytes(b"x")
    also: list[str] = []

    def create(*words: Any) -> archive.Archive:
        also.extend(words[4])
        return archive.Archive(made, "", Content(400, 7, 42), 4096)

    monkeypatch.setattr(archive, "create", create)
    monkeypatch.setattr(drill_key, "create", lambda _: drill_key.DrillKey("age1new", "NEW"))
    monkeypatch.setattr(store, "put", lambda *_: None)
    raw = RAW if drilled else {key: value for key, value in RAW.items() if key != "drill"}
    wanted = a_spec(member="etcd-2", backup=raw, data_directory=data)
    snapshot_verb._work(wanted, [], a_status(2))
    kept = drill_key.kept(cluster.keys[turn.LAST])
    assert also == (["age1new"] if drilled else [])
    assert (kept or {}).get("identity") == ("NEW" if drilled else None)
    assert "identity" not in cluster.keys[turn.LAST]
    assert cluster.started == drilled

    # One that could not be stored changes nothing about the newest one that was.
    def full(*_: Any) -> None:
        raise NodeError("the store is full", "")

    made.write_bytes(b"x")
    monkeypatch.setattr(store, "put", full)
    with pytest.raises(NodeError, match="the store is full"):
        snapshot_verb._work(wanted, [], a_status(2))
    assert drill_key.kept(cluster.keys[turn.LAST]) == kept


# --- status -----------------------------------------------------------------------------------------------------------


def _hints(attempt: Any, **found: Any) -> list[str]:
    active = subprocess.CompletedProcess([], 0, "active\n", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drill_unit, "run", lambda *_, **__: active)
        return status_verb._drill("etcd-2", {"attempt": attempt, **found})


def test_status_tells_the_last_proof_and_a_failure_on_any_member() -> None:
    now = int(time.time())
    proved = {"name": NAME, "place": "s3:etcd", "member": "etcd-3", "keys": 7, "seconds": 3, "at": now - 3 * 3600}
    failed = {"name": NAME, "member": "etcd-3", "cause": "it is damaged", "at": now}
    assert status_verb._last_restore({"drill": {"proved": proved}}) == f"proved 3 h ago by etcd-3: {NAME}, in 3 s"
    assert status_verb._last_restore({"drill": {}}) == "not proved yet, or not known"
    own = {"at": now, "cause": "it is damaged", "remedy": "Look."}
    assert _hints({}, proved=proved, failed=failed) == [
        "The drill failed on etcd-3, 0 min ago: it is damaged. See there."
    ]
    assert _hints(own, proved=proved) == ["The drill failed on this machine, 0 min ago: it is damaged. Look."]
    # Another member has proved a restore since then.
    assert _hints({**own, "at": now - 7 * 3600}, proved=proved) == []
    # Before then, and its clock was ahead.
    ours = {**failed, "member": "etcd-2"}
    assert len(_hints(own, proved={**proved, "at": now + 86400}, failed=ours)) == 1
