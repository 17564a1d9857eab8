"""Only one member's machine at a time may be replaced."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from components.node.cluster import disruption, leadership, quorum_gate
from components.node.cluster.disruption import KEY, LEASE_SECONDS
from components.node.cluster.quorum_rules import Voter
from components.node.protocol import etcd
from components.node.shared import files
from components.node.shared.errors import NodeError
from components.node.verbs import drain

from .key_store import Store
from .node_support import a_member, a_spec, a_status, raw_spec

ANYBODY = ["10.99.0.11"]


class Cluster:
    """Three members; tests choose the healthy ones."""

    def __init__(self) -> None:
        self.sick: set[str] = set()
        self.moved: list[str] = []

    def voters(self, *_: object, **__: object) -> Any:
        voters = [Voter(f"etcd-{n}", "connection refused" if f"etcd-{n}" in self.sick else "") for n in (1, 2, 3)]
        return voters, {f"etcd-{n}": a_status(n, leader=3) for n in (1, 2, 3)}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store(KEY, LEASE_SECONDS)
    monkeypatch.setattr(etcd, "etcdctl", made.etcdctl)
    yield made


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(files, "read_json", lambda _: json.loads(json.dumps(raw_spec())))
    monkeypatch.setattr(etcd, "ready", lambda *_: etcd.Ready(True, "", ""))
    monkeypatch.setattr(etcd, "member_list", lambda *_: etcd.Membership(77, tuple(map(a_member, (1, 2, 3)))))
    monkeypatch.setattr(quorum_gate, "poll", made.voters)
    monkeypatch.setattr(quorum_gate, "_NOBODY_THERE_SECONDS", 0.0)
    monkeypatch.setattr(leadership, "hand_over", lambda _, name, *__, **___: made.moved.append(name))
    return made


def test_only_one_machine_at_a_time_may_be_replaced(store: Store, cluster: Cluster) -> None:
    drain.drain("etcd-2")
    store.now = 100
    with pytest.raises(
        NodeError, match=r"the machine of etcd-2 was released for replacement at 20.*the machine of etcd-3 stays"
    ) as caught:
        drain.drain("etcd-3")
    assert "restore the generation of etcd-3" in caught.value.remedy
    assert f"in {LEASE_SECONDS - 100} s" in caught.value.remedy
    assert cluster.moved == []


def test_releasing_the_same_machine_again_renews_its_claim(store: Store, cluster: Cluster) -> None:
    del cluster
    drain.drain("etcd-2")
    store.now = 200
    drain.drain("etcd-2")
    assert store.leases == {1: 200 + LEASE_SECONDS}


def test_of_two_simultaneous_requests_one_is_refused(store: Store, cluster: Cluster) -> None:
    del cluster
    # After the first one's look, before its key.
    store.meanwhile = [lambda: None, lambda: None, lambda: drain.drain("etcd-3")]
    with pytest.raises(NodeError, match="the machine of etcd-3 was released for replacement"):
        drain.drain("etcd-2")
    assert len(store.leases) == 1


def test_an_unused_release_of_a_machine_expires(store: Store, cluster: Cluster) -> None:
    drain.drain("etcd-2")
    store.now = LEASE_SECONDS
    drain.drain("etcd-3")
    assert cluster.moved == ["etcd-3"]


def test_a_refused_machine_does_not_block_others(store: Store, cluster: Cluster) -> None:
    cluster.sick = {"etcd-1"}
    with pytest.raises(NodeError, match="does not tolerate its loss"):
        drain.drain("etcd-2")
    assert store.value is None
    cluster.sick = set()
    drain.drain("etcd-2")
    cluster.sick = {"etcd-1"}
    with pytest.raises(NodeError):
        drain.drain("etcd-2")
    assert store.value is not None, "the earlier run released the machine"


def test_a_returned_member_ends_only_its_own_release(store: Store) -> None:
    disruption.take(a_spec(), ANYBODY, "etcd-2")
    disruption.give_back(a_spec(), ANYBODY, "etcd-1")
    assert store.value is not None
    disruption.give_back(a_spec(), ANYBODY, "etcd-2")
    assert store.value is None
    assert store.leases == {}


def test_an_unreadable_or_permanent_record_is_respected(store: Store) -> None:
    store.leases, store.value = {0: 1000.0}, ("what is this", 0)
    with pytest.raises(NodeError, match="the machine of another member") as caught:
        disruption.take(a_spec(), ANYBODY, "etcd-2")
    assert f"etcdctl del {KEY}" in caught.value.remedy
