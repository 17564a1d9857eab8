"""Whom this program has taken into the cluster, where no machine that stays has heard of it."""

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from components.node.cluster import roster
from components.node.protocol import etcd
from components.node.protocol.etcd import Member, Membership
from components.node.shared.spec import Spec

from .node_support import a_spec


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What etcdctl was asked; it answers that etcd-1 and etcd-9 have joined once."""
    asked: list[list[str]] = []
    rows = {"etcd-1": "10.99.0.11", "etcd-9": "10.99.0.19"}

    def etcdctl(_: Spec, __: Sequence[str], words: Sequence[str], **___: object) -> tuple[int, Any, str]:
        asked.append(list(words))
        kvs = [{"key": b64(roster.PREFIX + name), "value": b64(address)} for name, address in rows.items()]
        return 0, {"kvs": kvs}, ""

    monkeypatch.setattr(etcd, "etcdctl", etcdctl)
    return asked


def membership(spec: Spec, learners: Sequence[str] = (), /, **others: str) -> Membership:
    members = {**spec.members, **others}
    return Membership(
        1,
        tuple(
            Member(id=number, name=name, peer_urls=(spec.peer_url(address),), client_urls=(), learner=name in learners)
            for number, (name, address) in enumerate(members.items(), 1)
        ),
    )


def test_where_everybody_is_known_nobody_is_asked(asked: list[list[str]]) -> None:
    spec = a_spec()
    cluster = membership(spec, **{"etcd-9": "10.99.0.19"})
    assert roster.unknown(spec, ["10.99.0.11"], cluster, {"etcd-9": "10.99.0.19"}) == {}
    assert roster.unknown(spec, ["10.99.0.11"], membership(spec), {}) == {}
    assert asked == []


def test_who_has_joined_and_is_not_wanted_is_ours_and_who_is_wanted_is_not_among_them(asked: list[list[str]]) -> None:
    spec = a_spec()
    cluster = membership(spec, **{"etcd-9": "10.99.0.19"})
    assert roster.unknown(spec, ["10.99.0.11"], cluster, {}) == {"etcd-9": "10.99.0.19"}
    assert asked == [["get", "--prefix", "external-etcd/joined/"]]


def test_a_learner_that_was_taken_in_is_in_the_way_and_neither_oneself_nor_a_voter_nor_somebody_elses_is(
    asked: list[list[str]],
) -> None:
    spec = a_spec(member="etcd-3")
    addresses = ["10.99.0.11"]
    others = {"etcd-9": "10.99.0.19", "stranger": "10.99.0.20"}
    assert roster.learners(spec, addresses, membership(spec, ["etcd-3"], **others)) == {}
    assert asked == []
    both = membership(spec, ["etcd-9", "stranger"], **others)
    assert roster.learners(spec, addresses, both) == {"etcd-9": both.members[3]}
    # One that is wanted, too: it may be this one's turn first.
    wanted = membership(spec, ["etcd-1"], **others)
    assert roster.learners(spec, addresses, wanted) == {"etcd-1": wanted.members[0]}


def test_who_is_to_leave_and_is_there_counts_among_the_members(asked: list[list[str]]) -> None:
    spec = a_spec()
    cluster = membership(spec, **{"etcd-9": "10.99.0.19"})
    there = roster.everyone(spec, ["10.99.0.11"], cluster)
    assert dict(there.members) == {**spec.members, "etcd-9": "10.99.0.19"}
    assert roster.everyone(spec, ["10.99.0.11"], membership(spec)) == spec


def test_when_all_is_well_the_notes_are_those_of_the_members(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec()
    given: list[str] = []
    ask = etcd.etcdctl

    def etcdctl(at: Spec, to: Sequence[str], words: Sequence[str], stdin: str = "") -> tuple[int, Any, str]:
        given.append(stdin)
        return ask(at, to, words)

    monkeypatch.setattr(etcd, "etcdctl", etcdctl)
    roster.settle(spec, ["10.99.0.11"])
    assert [words[0] for words in asked] == ["get", "txn"]
    assert given[1].split("\n") == [
        "",
        "put external-etcd/joined/etcd-2 10.99.0.12",
        "put external-etcd/joined/etcd-3 10.99.0.13",
        "del external-etcd/joined/etcd-9",
        "",
        "",
        "",
    ]
    monkeypatch.setattr(roster, "noted", lambda *_: dict(spec.members))
    roster.settle(spec, ["10.99.0.11"])
    assert len(given) == 2, "nothing to write"


def test_who_joins_is_noted_and_who_has_left_is_forgotten(asked: list[list[str]]) -> None:
    spec = a_spec()
    roster.note(spec, ["10.99.0.11"])
    roster.forget(spec, ["10.99.0.11"], "etcd-9")
    assert asked == [
        ["put", f"external-etcd/joined/{spec.member}", spec.address],
        ["del", "external-etcd/joined/etcd-9"],
    ]
