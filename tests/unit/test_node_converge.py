"""Changes of the membership: what is tried again, and how long."""

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from components.node import converge, etcd, files, joined
from components.node.decide import Voter
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


@pytest.mark.parametrize(("recorded", "removed"), [(False, []), (True, ["member remove 3"])])
def test_who_has_just_joined_leaves_a_leader_that_it_cannot_reach_to_those_who_stay(
    monkeypatch: pytest.MonkeyPatch, recorded: bool, removed: list[str]
) -> None:
    """Who stays takes it out at once all the same: it may be dying."""
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
    monkeypatch.setattr(converge, "_voters", lambda *_: (voters, statuses))
    monkeypatch.setattr(joined, "unknown", lambda *_: {} if recorded else {"etcd-3": "10.99.0.13"})
    record = {"members": {**spec.members, "etcd-3": "10.99.0.13"} if recorded else dict(spec.members)}
    monkeypatch.setattr(files, "read_json", lambda _: record)
    look = mock.Mock(witnesses=("10.99.0.14",))
    assert converge._part(spec, look, mock.Mock()) is bool(removed)
    assert [words for words in asked if "remove" in words] == removed
    assert not any("move-leader" in words for words in asked)
