"""The steps of `converge`: what is tried again, who is waited for, and how long."""

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from components.node import (
    certificates,
    converge,
    etcd,
    member,
    rollback,
    systemd,
    unit,
    version_change,
)
from components.node.decide import Situation, Step
from components.node.errors import NodeError
from components.node.spec import Spec

from .node_support import a_member, a_spec, a_status

ADD = ["member", "add", "etcd-1", "--learner", "--peer-urls=https://10.99.0.11:2380"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (ADD, "Error: etcdserver: Peer URLs already exists"),
        (["member", "promote", "b"], "Error: etcdserver: can only promote a learner member"),
        (["member", "remove", "b"], "Error: etcdserver: member not found"),
    ],
)
def test_what_was_done_although_nobody_said_so_in_time_is_done(
    monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    answers: list[tuple[int, Any, str]] = [(1, None, "Error: etcdserver: request timed out"), (1, None, said)]
    monkeypatch.setattr(etcd, "etcdctl", lambda *_, **__: answers.pop(0))
    converge._retry(a_spec(), ["10.99.0.12"], words, "do it")
    assert answers == []


def test_a_learner_that_is_behind_is_no_voter(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = "Error: etcdserver: can only promote a learner member which is in sync with leader"
    answers: list[tuple[int, Any, str]] = [(1, None, behind), (1, None, behind), (0, None, "")]
    monkeypatch.setattr(etcd, "etcdctl", lambda *_, **__: answers.pop(0))
    converge._retry(a_spec(), ["10.99.0.12"], ["member", "promote", "b"], "promote it")
    assert answers == []


def test_what_etcd_refuses_for_another_reason_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = mock.Mock(return_value=(1, None, "Error: etcdserver: Peer URLs already exists"))
    monkeypatch.setattr(etcd, "etcdctl", ask)
    with pytest.raises(NodeError, match=r"etcd did not remove it: .*already exists"):
        converge._retry(a_spec(), ["10.99.0.12"], ["member", "remove", "b"], "remove it")
    assert ask.call_count == 1


def test_a_learner_gets_the_more_time_the_more_data_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    look = mock.Mock(witnesses=("10.99.0.12",))
    look.situation.member_id = 11

    def statuses(_: Spec, addresses: dict[str, str]) -> dict[str, etcd.Status]:
        assert list(addresses) == ["etcd-2"], "who has yet to join would cost time"
        return {"etcd-2": replace(a_status(2), db_size=1 << 30)}

    monkeypatch.setattr(etcd, "statuses", statuses)
    monkeypatch.setattr(etcd, "etcdctl", lambda *_, **__: (0, None, ""))
    monkeypatch.setattr(converge, "more_time", given.append)
    converge._promote(a_spec(), look)
    assert given == [pytest.approx(102.4)]


def _learner() -> converge.Look:
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
    return converge.Look(situation, service, ready=False, served="", witnesses=("10.99.0.12",))


def _ready_but_learners(_: Spec, address: str, *__: object, learner: bool = False, **___: object) -> etcd.Ready:
    """What etcd says: a learner is not ready, unless that it learns is left out of the question."""
    ok = address != "10.99.0.11" or learner
    return etcd.Ready(ok, "" if ok else "[-]non_learner failed: cannot have members that are learners", "")


def _no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed, started or stopped; nobody waits longer than a moment."""
    for module, name in (
        (member, "install_unit"),
        (member, "make_data_directory"),
        (systemd, "start"),
        (systemd, "restart"),
        (converge, "_wait_gone"),
        (version_change, "make_ready_to_start"),
    ):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(version_change, "make_ready", lambda *_: False)
    monkeypatch.setattr(member, "version", lambda: "3.6.16")
    monkeypatch.setattr(rollback, "_before", lambda _: None)
    monkeypatch.setattr(systemd, "show", lambda: systemd.Service("active", "", 1, 0, "", True, False, False))
    monkeypatch.setattr(systemd, "command_of", lambda _: [])
    monkeypatch.setattr(unit, "command", lambda _: [])
    monkeypatch.setattr(certificates, "trusted", lambda: "")
    for name in ("_READY_SECONDS", "_RESTARTED_SECONDS", "_RETRY_SECONDS"):
        monkeypatch.setattr(converge, name, 0.5)


@pytest.mark.parametrize("step", [Step.START, Step.RESTART])
def test_a_learner_is_waited_for_until_it_is_up_and_not_until_it_votes(
    monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    _no_machine(monkeypatch)
    monkeypatch.setattr(etcd, "ready", _ready_but_learners)
    behind = {"etcd-1": a_status(1, leader=2, index=10), "etcd-2": a_status(2, leader=2, index=1000)}
    monkeypatch.setattr(etcd, "statuses", lambda _, asked: {name: behind[name] for name in asked if name in behind})
    converge._take(step, a_spec(), mock.Mock(), [], _learner())


def test_who_is_on_no_list_of_ours_is_not_asked_whether_it_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "ready", lambda *_: etcd.Ready(True, "", ""))
    assert converge._peers_ready(a_spec(), {"etcd-2", "etcd-9"}) == {"etcd-2": ""}
