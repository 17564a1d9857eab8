"""Snapshots that are kept elsewhere: names and retention, whose turn it is, and what rclone's answers mean."""

import datetime
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.backup import retention, settings, store, turn
from components.node.cluster import lease
from components.node.protocol import etcd
from components.node.shared import backup, paths, spec
from components.node.shared.errors import NodeError
from components.node.verbs import snapshot as verb
from components.plan.backup import BackupPlan, LockPlan, S3Plan, SshPlan, backup_spec
from components.plan.releases import DEFAULT_MIRROR

from .node_support import a_spec, a_status

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
PLAN = BackupPlan([RECIPIENT], s3=S3Plan("etcd", "http://s3.lab:7070", "x", "eu"), keep={"hourly": 2})
RAW = backup_spec(PLAN, DEFAULT_MIRROR)
BACKUP = backup.parse(RAW)
SSH = SshPlan("backup.lab", "etcd", "/srv/etcd", "ssh-ed25519 AAAA", 2222, private_key=True)
ON_A_MACHINE = backup.parse(backup_spec(BackupPlan([RECIPIENT], ssh=SSH), DEFAULT_MIRROR))
NOW = datetime.datetime(2026, 11, 29, 16, 35, 2)
HOUR = datetime.timedelta(hours=1)


def name(taken: datetime.datetime, revision: int, cluster: str = "dev") -> str:
    return str(retention.Name(cluster, taken, revision))


# --- names and retention --------------------------------------------------------------------------------------------


def test_a_name_says_cluster_time_and_revision() -> None:
    assert name(NOW, 12) == "dev-20261129T163502Z-r12.db.gz.age"
    assert retention.parse(name(NOW, 12)) == retention.Name("dev", NOW, 12)
    for other in ("dev-20261329T163502Z-r12.db.gz.age", "dev-20261129T163502Z-r12.db.gz.age.tmp", "notes.txt"):
        assert retention.parse(other) is None


def test_the_last_of_each_period_is_kept() -> None:
    names = [name(NOW - each * HOUR / 2, 1000 - each) for each in range(200)]
    left = set(names) - set(retention.superfluous(names, names[0], {"hourly": 3, "daily": 2, "weekly": 2}))
    assert sorted(left, reverse=True) == [
        "dev-20261129T163502Z-r1000.db.gz.age",
        "dev-20261129T153502Z-r998.db.gz.age",
        "dev-20261129T143502Z-r996.db.gz.age",
        "dev-20261128T233502Z-r966.db.gz.age",
    ]


def test_other_files_and_clusters_are_left_alone() -> None:
    others = ["notes.txt", name(NOW - HOUR, 1, "dev-east"), name(NOW, 1, "prod"), "dev.db"]
    assert retention.superfluous([*others, name(NOW, 2)], name(NOW, 2), {"hourly": 1}) == []


def test_without_a_rule_nothing_is_deleted() -> None:
    assert retention.superfluous([name(NOW - HOUR, 1), name(NOW, 2)], name(NOW, 2), None) == []


_TAKEN = st.datetimes(datetime.datetime(2020, 1, 1), datetime.datetime(2030, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)


@given(st.lists(st.tuples(_TAKEN, st.integers(1, 50)), min_size=1, max_size=30), st.integers(1, 5), st.data())
def test_a_clock_that_jumps_deletes_no_more_than_one_that_does_not(
    rows: list[tuple[datetime.datetime, int]], hours: int, data: st.DataObject
) -> None:
    """Whatever time the newest one has, the last hours but one that had a snapshot before still have their last."""
    before = [name(*row) for row in rows]
    newest = name(data.draw(_TAKEN, label="newest"), 60)
    old = retention.superfluous([*before, newest], newest, {"hourly": hours})
    left = {*before, newest} - set(old)
    assert newest in left
    last = {row[0].replace(minute=0, second=0): name(*row) for row in sorted(rows)}
    own = retention.parse(newest)
    assert own is not None
    for hour in sorted(last)[-hours:][1:]:
        assert last[hour] in left or own.taken.replace(minute=0, second=0) == hour
    # Deleting again deletes nothing.
    assert retention.superfluous(left, newest, {"hourly": hours}) == []


# --- the store --------------------------------------------------------------------------------------------------------


def test_credentials_are_only_in_rclones_configuration() -> None:
    text = store.configuration(BACKUP, {"access_key_id": "AKIA", "secret_access_key": "geheim"})
    assert text.splitlines() == [
        "[store]",
        "type = s3",
        "provider = Other",
        "endpoint = http://s3.lab:7070",
        "region = eu",
        "access_key_id = AKIA",
        "secret_access_key = geheim",
    ]
    profile = store.configuration(BACKUP, {})
    assert "env_auth = true" in profile
    assert "access_key_id" not in profile
    locked = BackupPlan([RECIPIENT], s3=S3Plan("etcd", region="eu", object_lock=LockPlan("COMPLIANCE", 30)))
    lines = store.configuration(backup.parse(backup_spec(locked, DEFAULT_MIRROR)), {}).splitlines()
    assert {
        "provider = AWS",
        "object_lock_mode = COMPLIANCE",
        "object_lock_retain_until_date = 30d",
        "upload_cutoff = 16M",
    } < {*lines}


def test_another_machine_is_known_by_its_host_key_alone() -> None:
    text = store.configuration(ON_A_MACHINE, {"key_pem": "-----BEGIN X-----\nabc\n-----END X-----\n"})
    assert text.splitlines() == [
        "[store]",
        "type = sftp",
        "shell_type = none",
        "host = backup.lab",
        "port = 2222",
        "user = etcd",
        "host_keys = ssh-ed25519 AAAA",
        r"key_pem = -----BEGIN X-----\nabc\n-----END X-----",
    ]
    assert (str(ON_A_MACHINE), ON_A_MACHINE.path) == ("ssh:etcd@backup.lab:/srv/etcd", "/srv/etcd")


@pytest.mark.parametrize("missing", ["host_keys", "host", "user", "port", "directory"])
@pytest.mark.parametrize("value", ["", " ", None])
def test_another_machine_without_a_host_key_is_refused(missing: str, value: str | None) -> None:
    """Without one, rclone would accept any."""
    raw = backup_spec(BackupPlan([RECIPIENT], directory="/mnt/share"), DEFAULT_MIRROR)
    del raw["directory"]
    raw["ssh"] = {"host": "backup.lab", "port": "22", "user": "etcd", "directory": "/srv", "host_keys": "ssh-rsa A"}
    assert backup.parse(raw).ssh == raw["ssh"]
    raw["ssh"][missing] = value
    with pytest.raises(ValueError, match=f"ssh.{missing} must be given"):
        backup.parse(raw)


@pytest.mark.parametrize(
    ("secret", "line"),
    [
        ("`a`b", "``a`b`"),
        ('"""a"""', '`"""a"""`'),
        ('"a" = #b;', '"a" = #b;'),
        ("a\r\nregion = x\n", "a\\nregion = x"),
    ],
)
def test_a_secret_stays_one_value_in_rclones_configuration(secret: str, line: str) -> None:
    """rclone takes quotes off a value that begins with them, up to the last one, and ends a value at the line's end."""
    text = store.configuration(BACKUP, {"access_key_id": "AKIA", "secret_access_key": secret})
    assert text.splitlines()[-1] == f"secret_access_key = {line}"
    assert len(text.splitlines()) == 7


@pytest.mark.parametrize(
    ("code", "said", "does"),
    [
        (3, "directory not found", "Create or mount it there"),
        (
            1,
            "ssh: handshake failed: sftp: host key mismatch for backup.lab:22: server offered",
            "Another machine answers",
        ),
        (
            1,
            "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey]",
            "authorized_keys",
        ),
        (1, 'Failed to copy: Update Close failed: sftp: "Failure" (SSH_FX_FAILURE)', "mostly its disk is full"),
        (1, "couldn't connect SSH: dial tcp 10.0.0.9:22: connect: connection refused", "cannot be reached"),
    ],
)
def test_what_another_machine_answers_is_told_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, said: str, does: str
) -> None:
    done = type("Done", (), {"returncode": code, "stderr": said, "stdout": ""})
    monkeypatch.setattr(store, "run", lambda *_, **__: done)
    with pytest.raises(NodeError) as caught:
        store.put(ON_A_MACHINE, tmp_path / "never read", "")
    assert does in caught.value.remedy


@pytest.mark.parametrize(
    ("said", "does"),
    [
        ("2026/11/29 16:35:02 ERROR : x: Failed to copy: SignatureDoesNotMatch: ...", "correct `backup.s3`"),
        ("2026/11/29 16:35:02 CRITICAL: NoSuchBucket: The specified bucket", "Create the bucket"),
        ("dial tcp 10.0.0.1:7070: connect: connection refused", "cannot be reached"),
        ("write /mnt/x: no space left on device", "is full"),
        ("Failed to copyto: preallocate: file too big for remaining disk space", "is full"),
        ("something new", "journalctl -u etcd-snapshot"),
    ],
)
def test_rclones_error_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch, said: str, does: str) -> None:
    done = type("Done", (), {"returncode": 1, "stderr": f"other\n{said}\n", "stdout": ""})
    monkeypatch.setattr(store, "run", lambda *_, **__: done)
    with pytest.raises(NodeError) as caught:
        store.listed(BACKUP)
    assert "rclone could not list in s3:etcd/x: " in caught.value.cause
    assert not caught.value.cause.startswith("2026")
    assert does in caught.value.remedy


def test_a_directory_on_the_disk_of_the_data_is_refused(tmp_path: Path) -> None:
    here = backup.parse(backup_spec(BackupPlan([RECIPIENT], directory=str(tmp_path)), DEFAULT_MIRROR))
    with pytest.raises(NodeError, match="is on the file system of etcd's data"):
        store.refuse_here(here, str(tmp_path))
    store.refuse_here(here, "/proc")
    with pytest.raises(NodeError, match="there is no directory"):
        store.refuse_here(backup.parse({**RAW, "s3": None, "directory": "/nowhere"}), "/proc")


# --- whose turn it is -------------------------------------------------------------------------------------------------


class Cluster:
    """Replaces etcd: two keys, and three members of which `leader` leads."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[str, Any]] = {}
        self.leader = 1
        self.full = False
        self.clock = 0.0
        self.work: list[str] = []
        self.at: dict[float, Any] = {}

    def find(self, _: spec.Spec, __: Sequence[str], key: str) -> lease.Held | None:
        return lease.Held(self.keys[key], 7) if key in self.keys else None

    def take(self, _: spec.Spec, __: Sequence[str], key: str, value: dict[str, Any], ___: int) -> lease.Held:
        if self.full:
            raise lease.FullError("full", "")
        return lease.Held(self.keys.setdefault(key, value), 7)

    def give_back(self, *_: Any) -> None:
        self.keys.pop(turn.KEY, None)

    def stores(self, wanted: spec.Spec, *_: Any) -> str:
        self.work.append(wanted.member)
        return "stored"

    def until(self, seconds: float, every: float) -> Any:
        while self.clock < seconds:
            for moment in [each for each in self.at if each <= self.clock]:
                self.at.pop(moment)()
            yield seconds - self.clock
            self.clock += every


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster()
    monkeypatch.setattr(lease, "find", found.find)
    monkeypatch.setattr(lease, "take", found.take)
    monkeypatch.setattr(lease, "give_back", found.give_back)
    monkeypatch.setattr(verb, "until", found.until)
    monkeypatch.setattr(verb, "more_time", lambda _: None)
    monkeypatch.setattr(turn, "ask", lambda wanted: (list(wanted.members.values()), _status(wanted, found)))
    monkeypatch.setattr(etcd, "statuses", lambda wanted, _: {n: _status_of(n, found) for n in wanted.members})
    monkeypatch.setattr(verb, "_work", found.stores)
    return found


def _status_of(member: str, cluster: Cluster) -> etcd.Status:
    return a_status(int(member[-1]), leader=cluster.leader)


def _status(wanted: spec.Spec, cluster: Cluster) -> etcd.Status:
    return _status_of(wanted.member, cluster)


def take(member: str, *, scheduled: bool = True) -> str:
    return verb._snapshot(a_spec(member=member, backup=RAW), scheduled=scheduled)


def last(member: str, taken: float) -> dict[str, Any]:
    return {"member": member, "name": name(NOW, 5), "taken": taken, "place": "s3:etcd/x", "keys": 9}


def test_a_follower_works_at_once_and_the_leader_after_the_others(cluster: Cluster) -> None:
    assert take("etcd-2") == "stored"
    assert (cluster.work, cluster.clock) == (["etcd-2"], 0)
    assert turn.KEY not in cluster.keys
    take("etcd-1")
    assert cluster.clock > verb._LEADER_SECONDS


def test_others_end_when_the_snapshot_is_stored(cluster: Cluster) -> None:
    cluster.keys[turn.KEY] = {"member": "etcd-2"}
    cluster.keys[turn.LAST] = last("etcd-1", 0)

    def stored() -> None:
        cluster.keys[turn.LAST] = last("etcd-2", 1)

    cluster.at[9] = stored
    assert take("etcd-3").startswith("etcd-2 has stored dev-2026")
    assert cluster.work == []


def test_another_one_takes_over_when_the_turn_ends_without_a_snapshot(cluster: Cluster) -> None:
    cluster.keys[turn.KEY] = {"member": "etcd-2"}
    cluster.at[9] = lambda: cluster.keys.pop(turn.KEY)
    assert take("etcd-3") == "stored"


def test_a_timer_that_is_late_takes_no_second_snapshot(cluster: Cluster) -> None:
    cluster.keys[turn.LAST] = last("etcd-2", datetime.datetime.now().timestamp() - 20)
    assert take("etcd-3").startswith("etcd-2 has stored")
    # By hand it is another one.
    assert take("etcd-3", scheduled=False) == "stored"


def test_a_member_that_hangs_keeps_its_turn_only_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    renewed, over, left = [], threading.Event(), [9.0, 6.0, 3.0, 0.0]

    def time_left() -> float:
        if len(left) == 1:
            over.set()
        return left.pop(0)

    monkeypatch.setattr(turn, "time_left", time_left)
    monkeypatch.setattr(turn, "_RENEWAL_SECONDS", 0.01)
    monkeypatch.setattr(lease, "renew", lambda *_: renewed.append(1))
    monkeypatch.setattr(lease, "give_back", lambda *_: None)
    with turn.kept(turn.Turn(a_spec(), [], 7)):
        assert over.wait(10)
    assert len(renewed) == 2


@pytest.mark.parametrize("value", [{}, {"taken": "today"}, {"taken": None}, {"taken": 1e300}, {"taken": 1e9}])
def test_a_record_that_another_client_has_written_is_no_snapshot(cluster: Cluster, value: dict[str, Any]) -> None:
    whole = last("etcd-2", 0)
    cluster.keys[turn.LAST] = value if value == {"taken": 1e9} else {**whole, "taken": "", **value}
    assert turn.last(a_spec(), []) is None
    assert take("etcd-3") == "stored"
    cluster.keys[turn.LAST] = whole
    assert turn.last(a_spec(), []) == whole


def test_a_turn_that_a_dead_process_of_this_machine_left_is_taken_again(cluster: Cluster) -> None:
    cluster.keys[turn.KEY] = {"member": "etcd-2"}
    assert take("etcd-2") == "stored"


def test_with_a_full_database_the_first_follower_works(cluster: Cluster) -> None:
    cluster.full = True
    assert take("etcd-3") == "the database is full, so etcd-2 takes the snapshot without asking the others"
    assert take("etcd-2") == "stored"
    assert cluster.work == ["etcd-2"]


def test_a_failure_is_recorded_with_its_remedy(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in ("INSTALLED", "BACKUP_RESULT", "BACKUP_LOCK"):
        monkeypatch.setattr(paths, path, tmp_path / path)
    monkeypatch.setattr("components.node.shared.files.os.fchown", lambda *_: None)
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)
    monkeypatch.setattr("components.node.verbs.snapshot.os.nice", lambda _: 0)
    with pytest.raises(NodeError, match="no snapshots are configured"):
        verb.snapshot()
    paths.INSTALLED.write_text(json.dumps(a_spec(member="etcd-2", backup=RAW).raw))

    def fail(*_: Any) -> None:
        raise NodeError("the store is full", "Make room.")

    monkeypatch.setattr(verb, "_work", fail)
    with pytest.raises(NodeError, match="the store is full"):
        verb.snapshot(scheduled=True)
    found = dict(settings.result())
    assert found.pop("at").endswith("Z")
    assert found == {"cause": "the store is full", "remedy": "Make room."}
    assert turn.KEY not in cluster.keys
    monkeypatch.setattr(verb, "_work", lambda *_: "stored")
    assert verb.snapshot() == "stored"
    assert set(settings.result()) == {"at"}
