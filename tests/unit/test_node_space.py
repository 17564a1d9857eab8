"""Room in the database: which member is defragmented when, and how a full database gets room again."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.cluster import claim, leadership, lease, quorum_gate, roster, space
from components.node.cluster.claim import Holder
from components.node.cluster.quorum_rules import Voter
from components.node.protocol import etcd, gateway
from components.node.service import maintenance, member, systemd
from components.node.shared import files, paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Maintenance, Operator
from components.node.verbs import space as verbs
from components.plan.backup import BackupPlan, backup_spec
from components.plan.releases import DEFAULT_MIRROR

from .node_support import a_member, a_spec, a_status, raw_spec

MIB = 1 << 20
QUOTA = 2048 * MIB
RULE = Maintenance()
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
ON = {"defragment": True, "recover_space": True}


class Cluster:
    """Three members, of which etcd-1 leads. A compaction leaves `live` bytes in use, and a defragmentation no others.

    Attributes:
        done: what was done to the members, in order.
        alarms: (member ID, kind).
    """

    def __init__(self) -> None:
        self.size = {f"etcd-{number}": 1024 * MIB for number in (1, 2, 3)}
        self.in_use = dict.fromkeys(self.size, 100 * MIB)
        self.live, self.leader, self.member = 100 * MIB, 1, "etcd-1"
        self.sick: dict[str, str] = {}
        self.alarms: list[tuple[int, str]] = []
        self.done: list[str] = []
        self.compacted = self.raises_again = False
        self.holder: Holder | None = None
        self.wanted: dict[str, Any] = ON

    def statuses(self, *_: Any, **__: Any) -> dict[str, etcd.Status]:
        return {
            name: replace(a_status(int(name[-1]), leader=self.leader), db_size=self.size[name], db_in_use=in_use)
            for name, in_use in self.in_use.items()
        }

    def poll(self, *_: Any, full: bool = False) -> Any:
        alarm = "" if full or not self.alarms else "alarm NOSPACE of etcd-2"
        return [Voter(name, self.sick.get(name, alarm)) for name in self.size], self.statuses()

    def hand_over(self, _: Any, name: str, __: Any, polled: Any, *___: Any, **____: Any) -> Any:
        self.done.append(f"{name} hands over")
        self.leader = 2
        return polled

    def etcdctl(self, _: Any, addresses: Sequence[str], words: Sequence[str], *__: Any, **___: Any) -> Any:
        self.done.append(" ".join([*words, f"at {addresses[0]}"]))
        if words[0] == "compact":
            again, self.compacted = self.compacted, True
            self.in_use = self.in_use if again else dict.fromkeys(self.in_use, self.live)
            return int(again), None, "etcdserver: mvcc: required revision has been compacted" if again else ""
        name = f"etcd-{addresses[0][-1]}"
        self.size[name] = self.in_use[name]
        return 0, None, ""

    def disarm(self, *_: Any) -> None:
        self.done.append("disarm")
        self.alarms = self.alarms if self.raises_again else []

    def installed(self, _: Path) -> dict[str, Any]:
        return raw_spec(member=self.member, maintenance=self.wanted, quota_bytes=QUOTA)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(files, "read_json", made.installed)
    monkeypatch.setattr(etcd, "ready", lambda *_: etcd.Ready(True, "", ""))
    monkeypatch.setattr(etcd, "member_list", lambda *_: etcd.Membership(77, tuple(map(a_member, (1, 2, 3)))))
    monkeypatch.setattr(etcd, "alarms", lambda *_: made.alarms)
    monkeypatch.setattr(etcd, "statuses", made.statuses)
    monkeypatch.setattr(etcd, "etcdctl", made.etcdctl)
    monkeypatch.setattr(etcd, "disarm_nospace", made.disarm)
    monkeypatch.setattr(quorum_gate, "poll", made.poll)
    monkeypatch.setattr(quorum_gate, "_NOBODY_THERE_SECONDS", 0.0)
    monkeypatch.setattr(leadership, "hand_over", made.hand_over)
    monkeypatch.setattr(roster, "note", lambda *_: made.done.append("write"))
    monkeypatch.setattr(claim, "holder_of", lambda *_: made.holder)
    monkeypatch.setattr(member, "quota", lambda: QUOTA)
    monkeypatch.setattr(lease, "take", lambda *given: lease.Held(given[3], 7))
    monkeypatch.setattr(lease, "give_back", lambda *_: None)
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 40)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    return made


@pytest.mark.parametrize(("worker", "waits"), [("etcd-3", True), ("etcd-2", False)])
def test_the_timer_leaves_a_member_alone_that_gives_a_snapshot(
    cluster: Cluster, worker: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Etcd closes the file for a defragmentation, so it waits for every reader, with all clients waiting."""
    stored = backup_spec(BackupPlan([RECIPIENT], directory="/mnt"), DEFAULT_MIRROR)
    monkeypatch.setattr(files, "read_json", lambda _: {**cluster.installed(Path()), "backup": stored})
    monkeypatch.setattr(lease, "find", lambda *_: lease.Held({"member": worker}, 7))
    cluster.member = "etcd-3"
    assert (verbs.due() is None) == waits


@pytest.mark.parametrize(
    ("used", "in_use", "due"),
    [(512, 256, True), (512, 257, False), (511, 100, False), (2048, 2000, False), (0, 0, False)],
)
def test_the_rule_needs_free_space_and_a_file_that_counts(used: int, in_use: int, due: bool) -> None:
    assert space.fragmented(used * MIB, in_use * MIB, QUOTA, RULE) == due


@given(st.integers(1, 1 << 40), st.integers(1, 99), st.integers(1, 99))
def test_a_member_is_not_defragmented_twice_in_a_row(used: int, in_use_percent: int, quota_percent: int) -> None:
    rule = Maintenance(in_use_percent=in_use_percent, quota_percent=quota_percent)
    assert not space.fragmented(used, used, QUOTA, rule)


@given(st.integers(1, 3), st.lists(st.integers(0, 1024), min_size=3, max_size=3))
def test_the_leader_waits_exactly_for_the_others(leader: int, in_use: list[int]) -> None:
    statuses = {
        f"etcd-{number}": replace(a_status(number, leader=leader), db_size=1024 * MIB, db_in_use=each * MIB)
        for number, each in zip((1, 2, 3), in_use, strict=True)
    }
    due = [name for name, each in statuses.items() if space.fragmented(each.db_size, each.db_in_use, QUOTA, RULE)]
    for name in statuses:
        waits_for = space.goes_before(name, statuses, QUOTA, RULE)
        others = [each for each in due if each != name]
        assert waits_for == (others[0] if others and name == f"etcd-{leader}" else "")
    assert space.order(list(statuses), statuses)[-1] == f"etcd-{leader}"


def test_a_follower_is_defragmented_and_the_leader_comes_last(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    verbs.defragment()
    assert cluster.done == []
    assert "etcd-2 comes before it" in capsys.readouterr().err
    for name in ("etcd-2", "etcd-3", "etcd-1", "etcd-1"):
        cluster.member = name
        verbs.defragment()
    assert cluster.done == [
        "defrag at 10.99.0.12",
        "defrag at 10.99.0.13",
        "etcd-1 hands over",
        "defrag at 10.99.0.11",
    ]
    assert "--now defragments it all the same" in capsys.readouterr().err
    verbs.defragment("--now")
    assert cluster.done[4:] == ["defrag at 10.99.0.11"], "whatever the rule says, and another member leads"


@pytest.mark.parametrize("sick", ["etcd-1", "etcd-3"])
def test_nothing_is_defragmented_while_a_member_is_unhealthy(cluster: Cluster, sick: str) -> None:
    cluster.sick = {sick: etcd.UNREACHED}
    with pytest.raises(NodeError, match=rf"etcd-1 would be defragmented, but .*\({sick}: the machine cannot be"):
        verbs.defragment("--now")
    cluster.alarms = [(2, "NOSPACE")]
    with pytest.raises(NodeError, match=rf"the database would be compacted, but .*\({sick}: "):
        verbs.recover_space()
    assert cluster.done == []


def test_nothing_is_defragmented_during_an_update(cluster: Cluster) -> None:
    cluster.holder = Holder(Operator("1" * 16, "one@here"), "2026-11-21T15:38:02Z", 7)
    with pytest.raises(NodeError, match="an operator is changing this cluster, or was interrupted: one@here"):
        verbs.defragment("--now")
    cluster.alarms = [(2, "NOSPACE")]
    assert verbs.due() is None
    assert cluster.done == []


def test_a_disk_without_room_for_the_new_file_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=150 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NodeError, match="has 150 MiB free, and the new file of the database may need 164 MiB"):
        verbs.defragment("--now")
    assert cluster.done == []


def test_another_machines_disk_without_room_is_reported(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Etcd there serves on with the old file, and the alarm stays."""
    _full(cluster, 100 * MIB)
    said = "Failed to defragment etcd member[https://10.99.0.13:2379]. (write db.tmp.1: no space left on device)"

    def etcdctl(_: Any, addresses: Sequence[str], words: Sequence[str], *more: Any, **options: Any) -> Any:
        if (words[0], addresses[0]) == ("defrag", "10.99.0.13"):
            return 1, None, said
        return cluster.etcdctl(_, addresses, words, *more, **options)

    monkeypatch.setattr(etcd, "etcdctl", etcdctl)
    with pytest.raises(NodeError, match="the disk of etcd-3 has no room for the new file of the database") as caught:
        verbs.recover_space()
    assert "`df -h` on etcd-3" in caught.value.remedy
    assert cluster.done == ["compact --physical 0 at 10.99.0.11", "defrag at 10.99.0.12"]
    said = "etcdserver: permission denied"
    with pytest.raises(NodeError, match=r"etcd-3 was not defragmented: etcdserver: permission denied.* grant-role"):
        verbs.recover_space()


def _full(cluster: Cluster, live: int) -> None:
    cluster.size = cluster.in_use = dict.fromkeys(cluster.size, QUOTA)
    cluster.size = dict(cluster.size)
    cluster.live, cluster.alarms = live, [(2, "NOSPACE")]


def test_a_full_database_is_recovered_in_the_documented_order(cluster: Cluster) -> None:
    verbs.recover_space()
    assert cluster.done == [], "without the alarm there is nothing to do"
    _full(cluster, 100 * MIB)
    verbs.recover_space()
    assert cluster.done == [
        "compact --physical 0 at 10.99.0.11",
        "defrag at 10.99.0.12",
        "defrag at 10.99.0.13",
        "etcd-1 hands over",
        "defrag at 10.99.0.11",
        "disarm",
        "write",
    ]


def test_a_database_full_of_live_data_keeps_its_alarm(cluster: Cluster) -> None:
    _full(cluster, 1990 * MIB)
    for _ in range(2):
        with pytest.raises(NodeError, match=r"etcd-2 still has 1.9 GiB of the quota of 2.0 GiB") as caught:
            verbs.recover_space()
    assert "Raise `quota`" in caught.value.remedy
    assert "disarm" not in cluster.done
    act, before = verbs.due(), len(cluster.done)
    assert act is not None
    with pytest.raises(NodeError, match="all of it is live data"):
        act()
    assert [each.split()[0] for each in cluster.done[before:]] == ["compact"], "no client waits for nothing"


@pytest.mark.parametrize("asked", [True, False])
def test_the_next_run_completes_an_interrupted_one(cluster: Cluster, asked: bool) -> None:
    _full(cluster, 100 * MIB)
    cluster.compacted, cluster.in_use = True, dict.fromkeys(cluster.size, 100 * MIB)
    cluster.size["etcd-1"] = 100 * MIB
    act = verbs.recover_space if asked else verbs.due()
    assert act is not None
    act()
    assert cluster.done[-2:] == ["disarm", "write"]
    assert set(cluster.size.values()) == {100 * MIB}


def test_an_alarm_that_comes_back_is_reported(cluster: Cluster) -> None:
    _full(cluster, 100 * MIB)
    cluster.raises_again = True
    with pytest.raises(NodeError, match="etcd has raised one again"):
        verbs.recover_space()


def test_the_timer_does_only_what_the_configuration_says(cluster: Cluster) -> None:
    def does(member: str, **wanted: bool) -> list[str]:
        cluster.member, cluster.wanted, cluster.done = member, wanted, []
        act = verbs.due()
        if act is not None:
            act()
        return [each.split()[0] for each in cluster.done]

    assert does("etcd-2") == does("etcd-2", recover_space=True) == []
    assert does("etcd-1", defragment=True) == [], "it leads"
    assert does("etcd-2", defragment=True) == ["defrag"]
    _full(cluster, 100 * MIB)
    assert does("etcd-1", defragment=True) == [], "not with an alarm"
    assert does("etcd-2", recover_space=True) == [], "one machine does it, because a full database accepts no claim"
    assert does("etcd-1", recover_space=True)[0] == "compact"
    assert cluster.alarms == []


def test_only_the_alarm_nospace_is_disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    raised = [(2, "NOSPACE"), (3, "NOSPACE")]
    monkeypatch.setattr(etcd, "alarms", lambda *_: raised)

    def answer(_: object, __: str, page: str, content: object, ___: float) -> dict[str, object]:
        assert page == gateway.ALARM
        asked.append(content)
        return {}

    monkeypatch.setattr(etcd, "_by_gateway", answer)
    etcd.disarm_nospace(a_spec(), "10.99.0.11")
    assert asked == [{"action": "DEACTIVATE", "memberID": str(number), "alarm": "NOSPACE"} for number in (2, 3)]
    raised.append((1, "CORRUPT"))
    with pytest.raises(NodeError, match="CORRUPT"):
        etcd.disarm_nospace(a_spec(), "10.99.0.11")
    assert len(asked) == 2


def test_with_etcds_authentication_etcdctl_disarms(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(etcd, "alarms", lambda *_: [(2, "NOSPACE")])
    monkeypatch.setattr(etcd, "_by_gateway", lambda *_: None)
    monkeypatch.setattr(etcd, "etcdctl", lambda *given: asked.append(given[2]))
    etcd.disarm_nospace(a_spec(), "10.99.0.11")
    assert asked == [["alarm", "disarm"]]


def test_the_timer_is_there_only_if_it_has_something_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[str] = []
    for name in ("MAINTENANCE_TIMER_FILE", "MAINTENANCE_TIMER_WANTED", "MAINTENANCE_UNIT_FILE"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower() / "unit")
        (tmp_path / name.lower()).mkdir()

    def run(argv: list[str], *_: Any, **__: Any) -> Any:
        ran.append(argv[1])
        return subprocess.CompletedProcess(argv, 0, "ActiveState=active\nNeedDaemonReload=no\n", "")

    monkeypatch.setattr(systemd, "run", run)
    maintenance.settle(Maintenance())
    assert ran == []
    maintenance.settle(Maintenance(defragment=True))
    maintenance.settle(Maintenance(recover_space=True))
    assert ran == ["daemon-reload", "restart", "show"]
    assert paths.MAINTENANCE_TIMER_WANTED.resolve() == paths.MAINTENANCE_TIMER_FILE
    maintenance.settle(Maintenance())
    assert ran[3:] == ["stop", "daemon-reload", "stop"]
    assert not any(path.is_file() or path.is_symlink() for path in tmp_path.glob("*/*"))


@pytest.mark.parametrize(
    "value", [[], {"defragment": "yes"}, {"in_use_percent": 0}, {"quota_percent": 101}, {"compact": True}]
)
def test_an_invalid_rule_is_refused(value: object) -> None:
    with pytest.raises(NodeError, match="maintenance"):
        a_spec(maintenance=value)
    assert a_spec().maintenance == RULE
    assert json.loads(json.dumps(a_spec(maintenance=ON).raw))["maintenance"] == ON
