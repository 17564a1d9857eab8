"""The steps of `converge`: retries, and which members it waits for, and how long."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

import pytest

from components.node.cluster import leadership, membership, quorum_gate, quorum_rules, roster
from components.node.cluster.quorum_rules import Voter
from components.node.data import directory, identity
from components.node.machine import network, nftables
from components.node.protocol import etcd, wal
from components.node.service import certificates, member, systemd, unit
from components.node.shared import files
from components.node.shared.errors import NodeError
from components.node.shared.spec import Bundle, Spec
from components.node.steps import join, look, promote, remove, restart, start
from components.node.steps.look import Look
from components.node.steps.next_step import Situation, Step, next_step
from components.node.upgrade import old_entries, preflight, rollback
from components.node.verbs import converge

from .node_support import a_member, a_spec, a_status

_SERVICE = systemd.Service("active", "running", 1, 0, "", True, False, False)
ADD = ["member", "add", "etcd-1", "--learner", "--peer-urls=https://10.99.0.11:2380"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (ADD[1:], "Error: etcdserver: Peer URLs already exists"),
        (["promote", "b"], "Error: etcdserver: can only promote a learner member"),
        (["remove", "b"], "Error: etcdserver: member not found"),
    ],
)
def test_a_timed_out_request_that_was_applied_succeeds(
    monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    answers: list[tuple[int, Any, str]] = [(1, None, "Error: etcdserver: request timed out"), (1, None, said)]
    monkeypatch.setattr(etcd, "etcdctl", lambda *_, **__: answers.pop(0))
    membership._change(a_spec(), ["10.99.0.12"], words, "do it")
    assert answers == []


def test_a_learner_that_is_behind_is_not_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = "Error: etcdserver: can only promote a learner member which is in sync with leader"
    answers: list[tuple[int, Any, str]] = [(1, None, behind), (1, None, behind), (0, None, "")]
    monkeypatch.setattr(etcd, "etcdctl", lambda *_, **__: answers.pop(0))
    membership._change(a_spec(), ["10.99.0.12"], ["promote", "b"], "promote it")
    assert answers == []


def test_a_crash_looping_learner_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = (1, None, "Error: etcdserver: can only promote a learner member which is in sync with leader")
    restarts = iter((3, 4, 5, 6))
    stop = mock.Mock()
    monkeypatch.setattr(etcd, "etcdctl", lambda *_, **__: behind)
    monkeypatch.setattr(etcd, "statuses", lambda *_: {})
    monkeypatch.setattr(etcd, "ready", _silent)
    monkeypatch.setattr(etcd, "has_everything", lambda _: False)
    monkeypatch.setattr(systemd, "show", lambda: replace(_SERVICE, restarts=next(restarts)))
    monkeypatch.setattr(systemd, "journal", lambda: "panic")
    monkeypatch.setattr(systemd, "stop", stop)
    seen = replace(_learner(), service=replace(_SERVICE, restarts=3))
    with pytest.raises(member.StartError, match="panic"):
        promote.promote(a_spec(), seen)
    stop.assert_called_once_with()
    assert next(restarts) == 6, "one restart is not a crash loop, two are"


def test_other_refusals_of_etcd_are_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = mock.Mock(return_value=(1, None, "Error: etcdserver: Peer URLs already exists"))
    monkeypatch.setattr(etcd, "etcdctl", ask)
    with pytest.raises(NodeError, match=r"etcd did not remove it: .*already exists"):
        membership._change(a_spec(), ["10.99.0.12"], ["remove", "b"], "remove it")
    assert ask.call_count == 1


def test_a_learners_timeout_grows_with_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    seen = mock.Mock(witnesses=("10.99.0.12",))
    seen.situation.member_id = 11
    seen.service.restarts = 0

    def statuses(_: Spec, addresses: dict[str, str]) -> dict[str, etcd.Status]:
        assert list(addresses) == ["etcd-2"], "asking a member that has yet to join would cost time"
        return {"etcd-2": replace(a_status(2), db_size=1 << 30)}

    monkeypatch.setattr(etcd, "statuses", statuses)
    monkeypatch.setattr(etcd, "etcdctl", lambda *_, **__: (0, None, ""))
    monkeypatch.setattr(promote, "more_time", given.append)
    monkeypatch.setattr(etcd, "ready", _ready_but_learners)
    monkeypatch.setattr(systemd, "show", lambda: _SERVICE)
    promote.promote(a_spec(), seen)
    assert given == [pytest.approx(102.4)]


def _silent(*_: object, **__: object) -> etcd.Ready:
    raise etcd.SilentError("no answer in time")


class _Joining:
    """A learner's etcd: its answers about its data, and the actions on it.

    It serves clients after a restart, or eventually.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, has_everything: Sequence[bool | None], *, votes: bool = False
    ) -> None:
        self.done: list[str] = []
        self._left = list(has_everything)
        monkeypatch.setattr(etcd, "ready", self._ready)
        monkeypatch.setattr(etcd, "has_everything", lambda _: self._left.pop(0))
        monkeypatch.setattr(etcd, "statuses", lambda *_: {})
        own = mock.Mock(learner=not votes)
        monkeypatch.setattr(etcd, "peer_view", lambda *_: mock.Mock(by_id=lambda _: own))
        monkeypatch.setattr(etcd, "etcdctl", self._etcdctl)
        monkeypatch.setattr(systemd, "show", self._show)
        monkeypatch.setattr(systemd, "restart", lambda: self.done.append("restart"))
        monkeypatch.setattr(systemd, "kill", lambda pid: self.done.append(f"kill {pid}"))
        monkeypatch.setattr(promote, "_ANNOUNCED_SECONDS", 0.15)

    def _show(self) -> systemd.Service:
        # Systemd takes a moment until it stops a service that it was told to restart.
        stops = self.done == ["restart", "not yet"]
        if self.done == ["restart"]:
            self.done.append("not yet")
        return replace(_SERVICE, pid=17, active="deactivating" if stops else "active")

    def _etcdctl(self, _: Spec, __: list[str], words: list[str], **___: object) -> tuple[int, Any, str]:
        self.done.append(words[1])
        return 0, None, ""

    def _ready(self, *_: object, learner: bool = False, **__: object) -> etcd.Ready:
        assert learner
        if self._left and "restart" not in self.done:
            raise etcd.SilentError("no answer in time")
        return etcd.Ready(True, "", "")


def test_an_up_to_date_learner_that_serves_nobody_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise etcd would publish it after 7 s, and until then it would be a voter that serves no clients."""
    etcd_there = _Joining(monkeypatch, [False, False, *[True] * 20])
    promote.promote(a_spec(), replace(_learner(), service=_SERVICE))
    assert etcd_there.done == ["restart", "not yet", "kill 17", "promote"]


def test_a_member_that_was_promoted_meanwhile_is_not_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    etcd_there = _Joining(monkeypatch, [True] * 20, votes=True)
    promote.promote(a_spec(), replace(_learner(), service=_SERVICE))
    assert etcd_there.done == ["promote"]


@pytest.mark.parametrize("has_everything", [[], [False] * 6, [True], [False, True, False, True], [None, False]])
def test_other_learners_are_not_restarted(monkeypatch: pytest.MonkeyPatch, has_everything: list[bool | None]) -> None:
    etcd_there = _Joining(monkeypatch, has_everything)
    promote.promote(a_spec(), replace(_learner(), service=_SERVICE))
    assert etcd_there.done == ["promote"]


def test_a_new_member_is_not_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts connections immediately, but may take seconds to answer."""
    quorum = _learner().situation.quorum
    monkeypatch.setattr(systemd, "show", lambda: _SERVICE)
    monkeypatch.setattr(wal, "exists", lambda _: True)
    monkeypatch.setattr(wal, "owner", lambda _: mock.Mock(member_id=1, cluster_id=77))
    monkeypatch.setattr(etcd, "ready", mock.Mock(side_effect=AssertionError("it was asked")))
    monkeypatch.setattr(etcd, "with_quorum", lambda *_: ([("10.99.0.12", quorum)], ""))
    monkeypatch.setattr(look, "differs", lambda *_: ())
    seen = look.look(a_spec(), mock.Mock(bare=False), just_joined=True)
    assert next_step(seen.situation) is Step.PROMOTE
    assert seen.witnesses == ("10.99.0.12",)


def test_a_learner_without_an_answer_is_not_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    etcd_there = _Joining(monkeypatch, [None] * 99)
    monkeypatch.setattr(promote, "_METRICS_SECONDS", 0.3)
    promote.promote(a_spec(), replace(_learner(), service=_SERVICE))
    assert etcd_there.done == ["promote"]


@pytest.mark.parametrize(("recorded", "removed"), [(False, []), (True, ["member remove 3"])])
def test_a_new_member_does_not_remove_an_unreachable_leader(
    monkeypatch: pytest.MonkeyPatch, recorded: bool, removed: list[str]
) -> None:
    """Remaining members remove it at once, because it may be failing."""
    spec = a_spec(members={"etcd-4": "10.99.0.14", "etcd-1": "10.99.0.11", "etcd-2": "10.99.0.12"}, member="etcd-4")
    there = [a_member(number) for number in (1, 2, 3, 4)]
    asked: list[str] = []

    def etcdctl(_: Spec, __: list[str], words: list[str], **___: object) -> tuple[int, Any, str]:
        asked.append(" ".join(words))
        there[:] = [entry for entry in there if words != ["member", "remove", f"{entry.id:x}"]]
        return 0, {}, ""

    voters = [Voter("etcd-4"), Voter("etcd-1"), Voter("etcd-2"), Voter("etcd-3", "the machine cannot be reached")]
    statuses = {f"etcd-{number}": a_status(number, leader=3) for number in (1, 2, 4)}
    monkeypatch.setattr(etcd, "etcdctl", etcdctl)
    monkeypatch.setattr(etcd, "member_list", lambda *_: etcd.Membership(77, tuple(there)))
    monkeypatch.setattr(quorum_gate, "poll", lambda *_, **__: (voters, statuses))
    monkeypatch.setattr(roster, "unknown", lambda *_: {} if recorded else {"etcd-3": "10.99.0.13"})
    record = {"members": {**spec.members, "etcd-3": "10.99.0.13"} if recorded else dict(spec.members)}
    monkeypatch.setattr(files, "read_json", lambda _: record)
    seen = mock.Mock(witnesses=("10.99.0.14",))
    assert remove.remove_gone(spec, seen.witnesses, seen.situation.quorum, mock.Mock()) is bool(removed)
    assert [words for words in asked if "remove" in words] == removed
    assert not any("move-leader" in words for words in asked)


def _learner() -> Look:
    members = (a_member(1, learner=True), a_member(2), a_member(3), a_member(9))
    situation = Situation(
        member="etcd-1",
        peer_url="https://10.99.0.11:2380",
        has_data=True,
        member_id=1,
        cluster_id=77,
        identified=True,
        runs=True,
        differs=("--max-txn-ops",),
        quorum=etcd.Membership(77, members),
    )
    service = mock.Mock(spec=systemd.Service, runs=True, pid=1)
    return Look(situation, service, ready=False, served="", witnesses=("10.99.0.12",))


def _ready_but_learners(_: Spec, address: str, *__: object, learner: bool = False, **___: object) -> etcd.Ready:
    """A learner is not ready, unless the check ignores that it is a learner."""
    ok = address != "10.99.0.11" or learner
    return etcd.Ready(ok, "" if ok else "[-]non_learner failed: cannot have members that are learners", "")


def _no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed, started or stopped, and waits are short."""
    for module, name in (
        (member, "install_unit"),
        (member, "make_data_directory"),
        (systemd, "start"),
        (systemd, "restart"),
        (systemd, "wait_gone"),
        (preflight, "make_ready_to_start"),
    ):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(preflight, "make_ready", lambda *_: False)
    monkeypatch.setattr(roster, "noted", lambda *_: {})
    monkeypatch.setattr(member, "version", lambda: "3.6.16")
    monkeypatch.setattr(rollback, "_before", lambda _: None)
    monkeypatch.setattr(systemd, "show", lambda: systemd.Service("active", "", 1, 0, "", True, False, False))
    monkeypatch.setattr(systemd, "command_of", lambda _: [])
    monkeypatch.setattr(unit, "command", lambda _: [])
    monkeypatch.setattr(certificates, "trusted", lambda: "")
    for module in (start, restart):
        monkeypatch.setattr(module, "_READY_SECONDS", 0.5)
    monkeypatch.setattr(restart, "_IN_STEP_SECONDS", 0.5)


@pytest.mark.parametrize("step", [Step.START, Step.RESTART])
def test_a_learner_is_waited_for_until_it_is_up(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    _no_machine(monkeypatch)
    monkeypatch.setattr(etcd, "ready", _ready_but_learners)
    behind = {"etcd-1": a_status(1, leader=2, index=10), "etcd-2": a_status(2, leader=2, index=1000)}
    monkeypatch.setattr(etcd, "statuses", lambda _, asked: {name: behind[name] for name in asked if name in behind})
    converge._take(step, a_spec(), mock.Mock(), mock.Mock(), _learner())


@pytest.mark.parametrize(
    ("differs", "running", "restarts"),
    [
        (("--quota-backend-bytes",), 1 << 30, True),
        (("--quota-backend-bytes",), 3 << 30, False),
        (("--max-txn-ops", "--quota-backend-bytes"), 1 << 30, False),
        (("--max-txn-ops",), 2 << 30, False),
    ],
    ids=["a higher quota", "a lower one", "a higher one and another setting", "another setting"],
)
def test_a_full_database_lets_members_restart_only_for_a_higher_quota(
    monkeypatch: pytest.MonkeyPatch, differs: tuple[str, ...], running: int, restarts: bool
) -> None:
    """Here it leads: the others also take over its leadership despite the alarm."""
    _no_machine(monkeypatch)
    leader, stopped = 1, list[bool]()

    def statuses(*_: object) -> dict[str, etcd.Status]:
        full = ("alarm NOSPACE of etcd-2",)
        return {f"etcd-{n}": replace(a_status(n, leader=leader), errors=full) for n in (1, 2, 3)}

    def etcdctl(_: Spec, __: Sequence[str], words: Sequence[str], **___: object) -> tuple[int, Any, str]:
        nonlocal leader
        leader = int(words[1], 16)
        return 0, {}, ""

    monkeypatch.setattr(etcd, "ready", lambda *_, **__: etcd.Ready(True, "", ""))
    monkeypatch.setattr(etcd, "statuses", statuses)
    monkeypatch.setattr(etcd, "etcdctl", etcdctl)
    monkeypatch.setattr(member, "quota", lambda: running)
    monkeypatch.setattr(systemd, "restart", lambda: stopped.append(True))
    quorum = etcd.Membership(77, (a_member(1), a_member(2), a_member(3)))
    before = _learner()
    seen = replace(before, situation=replace(before.situation, differs=differs, quorum=quorum))
    if restarts:
        restart.restart(a_spec(), seen)
        assert leader != 1
    else:
        with pytest.raises(
            NodeError, match=r"alarm NOSPACE of etcd-2.*nothing was restarted.*first raise `quota` in an"
        ):
            restart.restart(a_spec(), seen)
    assert stopped == [True] * restarts


def _joining(
    monkeypatch: pytest.MonkeyPatch,
    members: Sequence[etcd.Member],
    noted: Mapping[str, str],
    *,
    unheard: Sequence[str] = (),
    free: int = 1 << 40,
    refused: str = "",
) -> list[str]:
    """The etcdctl commands of `join` on etcd-1, in a cluster during an upgrade with these joined records.

    With `unheard`, members cannot reach it, as these lines say. Its disk has so many bytes `free`. It is `refused` with
    words like these.
    """
    _no_machine(monkeypatch)
    asked: list[str] = []

    def rings(expected: Mapping[str, str]) -> list[str]:
        assert expected == {"etcd-2": "10.99.0.12", "etcd-3": "10.99.0.13"}, "the healthy ones"
        return list(unheard)

    def etcdctl(_: Spec, __: Sequence[str], words: Sequence[str], **___: object) -> tuple[int, Any, str]:
        asked.append(" ".join(words))
        return 0, {}, ""

    statuses = {"etcd-2": a_status(2, leader=2, version="3.6.16"), "etcd-3": a_status(3, leader=2, version="3.5.35")}
    statuses["etcd-3"] = replace(statuses["etcd-3"], db_size=3 << 30)
    monkeypatch.setattr("shutil.disk_usage", lambda _: mock.Mock(free=free, total=1 << 40))
    monkeypatch.setattr(etcd, "etcdctl", etcdctl)
    monkeypatch.setattr(etcd, "member_list", lambda *_: etcd.Membership(77, tuple(members)))
    monkeypatch.setattr(quorum_gate, "poll", lambda *_, **__: ([Voter("etcd-2"), Voter("etcd-3")], statuses))
    monkeypatch.setattr(roster, "noted", lambda *_: noted)
    monkeypatch.setattr(directory, "move_aside", lambda *_: None)
    monkeypatch.setattr(network, "Doorbell", lambda _: mock.Mock(unheard=rings))
    for module, name in ((systemd, "stop"), (identity, "save"), (nftables, "admit"), (member, "begin")):
        monkeypatch.setattr(module, name, lambda *_, **__: None)
    known = identity.Identity("dev", "etcd-1", "/var/lib/etcd")
    seen = mock.Mock(witnesses=("10.99.0.12",))
    if unheard:
        refused = f"etcd-1 was not added to the cluster: {unheard[0]}"
    if refused:
        with pytest.raises(NodeError, match=refused):
            join.join(a_spec(), known, seen)
    else:
        join.join(a_spec(), known, seen)
    return asked


@pytest.mark.parametrize(
    ("noted", "given_up"), [("i-1", True), ("i-2", False), (None, False)], ids=["another", "the same", "not noted"]
)
def test_outdated_data_is_given_up_for_a_newly_configured_machine(noted: str | None, given_up: bool) -> None:
    """An older program recorded none, so the first run of a new program keeps the data."""
    known, bundle = identity.Identity("dev", "etcd-1", "/d", machine=noted), Bundle("i-2", {})
    try:
        raise member.OldDataError("its data are older", "Name another machine.")
    except member.OldDataError:
        if given_up:
            assert converge._gives_up_data(known, bundle, forgets=False)
        else:
            with pytest.raises(member.OldDataError):
                converge._gives_up_data(known, bundle, forgets=False)


def test_an_unreachable_new_member_is_removed_before_its_etcd_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record stays: it may have been a member before, and may come back."""
    entry = replace(a_member(1), name="", learner=True, client_urls=())
    asked = _joining(monkeypatch, [entry, a_member(2), a_member(3)], {}, unheard=["etcd-3 cannot reach etcd-1:2380"])
    assert asked[-2:] == [" ".join(ADD), "member remove 1"]


def test_a_disk_too_small_for_the_database_changes_no_member_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The margin of a first member comes on top of the largest database that the others report."""
    members, needed = [a_member(1), a_member(2), a_member(3)], (3 << 30) + (512 << 20)
    said = r"has 3\.5 GiB free; a new member needs at least 3\.5 GiB, with a database of 3\.0 GiB; nothing was changed"
    assert _joining(monkeypatch, members, {"etcd-1": "10.99.0.11"}, free=needed - 1, refused=said) == []
    assert _joining(monkeypatch, members, {"etcd-1": "10.99.0.11"}, free=needed)


def test_a_slot_is_recorded_before_its_old_entry_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With mixed versions no new member may join: a power cut in between must not turn it into a new one."""
    note = "put external-etcd/joined/etcd-1 10.99.0.11"
    others = (a_member(2), a_member(3))
    assert _joining(monkeypatch, [a_member(1), *others], noted={}) == [note, "member remove 1", " ".join(ADD)]
    assert _joining(monkeypatch, others, noted={"etcd-1": "10.99.0.11"}) == [note, " ".join(ADD)]
    with pytest.raises(NodeError, match="members are not changed in the middle of a change of version"):
        _joining(monkeypatch, others, noted={"etcd-4": "10.99.0.14"})


def test_a_blocking_learner_is_removed_and_stays_recorded_if_desired(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [a_member(1), a_member(2), a_member(3, learner=True), a_member(4, learner=True)]
    assert _joining(monkeypatch, mixed, noted={"etcd-3": "10.99.0.13", "etcd-4": "10.99.0.14"})[1:] == [
        "member remove 1",
        "member remove 3",
        "member remove 4",
        "del external-etcd/joined/etcd-4",
        " ".join(ADD),
    ]


def test_a_never_started_learner_at_an_old_address_is_removed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    unstarted = replace(a_member(9), name="", learner=True, client_urls=())
    old_address = unstarted.peer_urls[0].split("/")[2].split(":")[0]
    members = [unstarted, a_member(2), a_member(3)]
    assert _joining(monkeypatch, members, noted={"etcd-1": old_address})[1:] == ["member remove 9", " ".join(ADD)]


def test_an_unlisted_member_is_not_checked_for_reachability(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = mock.Mock(return_value={"etcd-2": ""})
    monkeypatch.setattr(etcd, "statuses", lambda *_: {"etcd-1": a_status(1)})
    monkeypatch.setattr(etcd, "troubles", ask)
    restart._wait_in_step(a_spec(), 0, {"etcd-2", "etcd-9"})
    ask.assert_called_once_with(mock.ANY, {"etcd-2": "10.99.0.12"})


class _Cluster:
    """Three members with leader etcd-1; two of them may be partitioned from each other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, cut: bool) -> None:
        self.leader, self.cut, self.said = 1, cut, list[str]()
        self.late = 1
        monkeypatch.setattr(quorum_gate, "poll", self._voters)
        monkeypatch.setattr(etcd, "etcdctl", self._move)
        monkeypatch.setattr(etcd, "statuses", lambda *_: self._statuses())
        monkeypatch.setattr(leadership, "say", self.said.append)
        monkeypatch.setattr(leadership, "_FOLLOW_SECONDS", 1.2)

    def _statuses(self) -> dict[str, etcd.Status]:
        return {f"etcd-{number}": a_status(number, leader=self.leader) for number in (1, 2, 3)}

    def _voters(self, *_: object, **__: object) -> tuple[list[Voter], dict[str, etcd.Status]]:
        lost = self.leader != 1 and (self.cut or self.late > 0)
        self.late -= self.leader != 1
        third = "it follows another leader" if lost else ""
        return [Voter("etcd-1"), Voter("etcd-2"), Voter("etcd-3", third)], self._statuses()

    def _move(self, _: Spec, __: list[str], words: list[str], **___: object) -> tuple[int, None, str]:
        assert words[0] == "move-leader"
        self.leader = int(words[1], 16)
        return 0, None, ""

    def hand_over(self) -> tuple[list[Voter], dict[str, etcd.Status]]:
        quorum = etcd.Membership(77, (a_member(1), a_member(2), a_member(3)))

        rule, untouched = partial(quorum_rules.refuse_stop, "etcd-1"), "nothing was restarted"
        return leadership.hand_over(a_spec(), "etcd-1", quorum, self._voters(), rule, untouched=untouched)


def test_an_old_leader_waits_until_the_others_follow_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = _Cluster(monkeypatch, cut=False)
    voters, statuses = cluster.hand_over()
    assert not any(voter.trouble for voter in voters)
    assert statuses["etcd-1"].leader == 2
    assert cluster.late < 0, "it looked again after the first moment"


def test_leadership_returns_if_the_other_members_are_partitioned(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = _Cluster(monkeypatch, cut=True)
    with pytest.raises(
        NodeError,
        match=r"with etcd-2 as the leader, and etcd-1 leads again: .*not all other members are healthy \(etcd-3: it "
        r"follows another leader\); nothing was restarted\. Can all members reach each other on port 2380\?",
    ):
        cluster.hand_over()
    assert cluster.leader == 1


@pytest.mark.parametrize("cut", [False, True])
def test_a_leader_that_is_removed_hands_over_like_any_other(monkeypatch: pytest.MonkeyPatch, cut: bool) -> None:
    """It is removed only when those that stay follow the new leader; else it leads again."""
    cluster = _Cluster(monkeypatch, cut=cut)
    there, asked = [a_member(number) for number in (1, 2, 3)], list[str]()

    def etcdctl(spec: Spec, addresses: list[str], words: list[str], **_: object) -> tuple[int, None, str]:
        asked.append(" ".join(words[:2]))
        there[:] = [entry for entry in there if words != ["member", "remove", f"{entry.id:x}"]]
        return cluster._move(spec, addresses, words) if words[0] == "move-leader" else (0, None, "")

    monkeypatch.setattr(etcd, "etcdctl", etcdctl)
    monkeypatch.setattr(etcd, "member_list", lambda *_: etcd.Membership(77, tuple(there)))
    monkeypatch.setattr(roster, "unknown", lambda *_: {})
    monkeypatch.setattr(files, "read_json", lambda _: {"members": {f"etcd-{n}": f"10.99.0.1{n}" for n in (1, 2, 3)}})
    spec = a_spec(member="etcd-2", members={"etcd-2": "10.99.0.12", "etcd-3": "10.99.0.13"})
    seen = mock.Mock(witnesses=("10.99.0.12",))
    if cut:
        with pytest.raises(NodeError, match="with etcd-2 as the leader, and etcd-1 leads again"):
            remove.remove_gone(spec, seen.witnesses, seen.situation.quorum, mock.Mock())
        assert cluster.leader == 1
        assert "member remove" not in asked
    else:
        assert remove.remove_gone(spec, seen.witnesses, seen.situation.quorum, mock.Mock())
        assert asked == ["move-leader 2", "member remove", "del external-etcd/joined/etcd-1"]


@pytest.mark.parametrize(
    ("wanted", "leader", "running", "goes_to"),
    [
        ("3.7.3", 3, {2: "3.7.3", 3: "3.6.16"}, 2),
        ("3.7.3", 2, {2: "3.7.3", 3: "3.6.16"}, 2),
        ("3.7.3", 3, {2: "3.7.3", 3: "3.7.3"}, 3),
        ("3.6.16", 3, {2: "3.6.16", 3: "3.5.35"}, 3),
    ],
    ids=["a leader of 3.6 gives it away", "one of 3.7 leads", "all are 3.7", "3.6 reads all"],
)
def test_a_3_7_learner_joins_only_under_a_compatible_leader(
    monkeypatch: pytest.MonkeyPatch, wanted: str, leader: int, running: dict[int, str], goes_to: int
) -> None:
    went = leader
    spec = a_spec(release={"version": wanted, "mirror": "https://releases.example/etcd/", "sha256": {}})
    statuses = {f"etcd-{n}": a_status(n, leader=leader, version=version) for n, version in running.items()}
    voters = [Voter("etcd-1", "connection refused"), Voter("etcd-2"), Voter("etcd-3")]

    def hand_over(_: Spec, __: str, ___: object, found: Any, *____: object, untouched: str) -> None:
        nonlocal went
        went = int(str(quorum_rules.heir(f"etcd-{leader}", *found))[-1])

    monkeypatch.setattr(leadership, "hand_over", hand_over)
    old_entries.move_leadership(spec, mock.Mock(), (voters, statuses), lambda _: None)
    assert went == goes_to


def test_a_3_7_learner_is_refused_without_a_compatible_leader() -> None:
    spec = a_spec(release={"version": "3.7.3", "mirror": "https://releases.example/etcd/", "sha256": {}})
    statuses = {"etcd-2": a_status(2, leader=3, version="3.7.3"), "etcd-3": a_status(3, leader=3)}
    voters = [Voter("etcd-2", "it knows no leader"), Voter("etcd-3")]
    with pytest.raises(
        NodeError, match=r"etcd-3, which runs etcd 3\.6\.16, leads, and no healthy voter that runs 3\.7"
    ):
        old_entries.move_leadership(spec, mock.Mock(), (voters, statuses), lambda _: None)
