"""The record of members that the program has added, for machines that do not know them."""

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
    """The etcdctl commands; the answer says that etcd-1 and etcd-9 have joined."""
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


def test_known_members_need_no_request(asked: list[list[str]]) -> None:
    spec = a_spec()
    cluster = membership(spec, **{"etcd-9": "10.99.0.19"})
    assert roster.unknown(spec, ["10.99.0.11"], cluster, {"etcd-9": "10.99.0.19"}) == {}
    assert roster.unknown(spec, ["10.99.0.11"], membership(spec), {}) == {}
    assert asked == []


def test_recorded_members_off_the_list_are_the_programs(asked: list[list[str]]) -> None:
    spec = a_spec()
    cluster = membership(spec, **{"etcd-9": "10.99.0.19"})
    assert roster.unknown(spec, ["10.99.0.11"], cluster, {}) == {"etcd-9": "10.99.0.19"}
    assert asked == [["get", "--prefix", "external-etcd/joined/"]]


def test_only_another_learner_of_the_program_blocks_a_join(asked: list[list[str]]) -> None:
    spec = a_spec(member="etcd-3")
    addresses = ["10.99.0.11"]
    others = {"etcd-9": "10.99.0.19", "stranger": "10.99.0.20"}
    assert roster.learners(spec, addresses, membership(spec, ["etcd-3"], **others)) == {}
    assert asked == []
    both = membership(spec, ["etcd-9", "stranger"], **others)
    assert roster.learners(spec, addresses, both) == {"etcd-9": both.members[3]}
    # A desired one too: this machine may have its turn first.
    wanted = membership(spec, ["etcd-1"], **others)
    assert roster.learners(spec, addresses, wanted) == {"etcd-1": wanted.members[0]}


def test_a_leaving_member_counts_as_a_member(asked: list[list[str]]) -> None:
    spec = a_spec()
    cluster = membership(spec, **{"etcd-9": "10.99.0.19"})
    there = roster.everyone(spec, ["10.99.0.11"], cluster)
    assert dict(there.members) == {**spec.members, "etcd-9": "10.99.0.19"}
    assert roster.everyone(spec, ["10.99.0.11"], membership(spec)) == spec


def test_a_healthy_cluster_has_a_record_for_each_member(
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


def test_joining_members_are_recorded_and_removed_ones_forgotten(asked: list[list[str]]) -> None:
    spec = a_spec()
    roster.note(spec, ["10.99.0.11"])
    roster.forget(spec, ["10.99.0.11"], "etcd-9")
    assert asked == [
        ["put", f"external-etcd/joined/{spec.member}", spec.address],
        ["del", "external-etcd/joined/etcd-9"],
    ]
