"""Changes of the membership: what is tried again, and how long."""

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from components.node import converge, etcd
from components.node.errors import NodeError
from components.node.spec import Spec

from .node_support import a_spec, a_status

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
