"""Two runs from one state never restart two members at once."""

from collections.abc import Iterator
from unittest import mock

import pytest

from components.node.cluster import one_restart
from components.node.cluster.one_restart import KEY, LEASE_SECONDS
from components.node.protocol import etcd
from components.node.shared.errors import NodeError
from components.node.steps.next_step import Step
from components.node.verbs import converge

from .key_store import Store
from .node_support import a_spec

ONE, TWO = a_spec(), a_spec(member="etcd-2")
WITNESSES = ["10.99.0.13"]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store(KEY, LEASE_SECONDS)
    monkeypatch.setattr(etcd, "etcdctl", made.etcdctl)
    monkeypatch.setattr(one_restart, "_WAIT_SECONDS", 0.0)
    yield made


def test_a_second_member_restarts_only_after_the_first(store: Store) -> None:
    with one_restart.alone(ONE, WITNESSES):
        with pytest.raises(NodeError, match="another run restarts or defragments etcd-1 now; nothing was restarted"):  # noqa: SIM117
            with one_restart.alone(TWO, WITNESSES):
                pytest.fail("both restart")
        with pytest.raises(NodeError, match="defragments etcd-1 now"), one_restart.alone(ONE, WITNESSES):
            pytest.fail("two runs restart one member")
    assert (store.value, store.leases) == (None, {})
    with one_restart.alone(TWO, WITNESSES):
        assert store.value is not None


def test_it_waits_for_a_restart_that_ends(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(one_restart, "_WAIT_SECONDS", 5.0)
    with one_restart.alone(ONE, WITNESSES):
        # Its machine dies: nothing renews the lease. Four requests are the first attempt.
        store.meanwhile = [*[lambda: None] * 4, lambda: setattr(store, "now", LEASE_SECONDS)]
        with one_restart.alone(TWO, WITNESSES):
            assert store.value is not None
            assert "etcd-2" in store.value[0]


def test_a_restart_that_fails_gives_the_key_back(store: Store) -> None:
    with pytest.raises(NodeError, match="it broke"), one_restart.alone(ONE, WITNESSES):
        raise NodeError("it broke", "Mend it.")
    assert store.value is None


def test_a_full_database_or_an_only_member_needs_no_key(store: Store) -> None:
    store.full = True
    with one_restart.alone(ONE, WITNESSES):
        assert store.value is None
    store.full = False
    with one_restart.alone(a_spec(members={"etcd-1": "10.99.0.11"}), WITNESSES):
        assert store.value is None


def test_a_database_that_fills_up_meanwhile_leaves_the_key_of_the_other_run(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setattr(one_restart, "_WAIT_SECONDS", 5.0)
    with one_restart.alone(ONE, WITNESSES):
        theirs = store.value
        assert theirs is not None
        store.meanwhile = [*[lambda: None] * 4, lambda: setattr(store, "full", True)]
        with one_restart.alone(TWO, WITNESSES):
            assert store.full
        assert store.value == theirs


@pytest.mark.parametrize("learns", [False, True])
def test_a_voter_holds_the_key_while_it_restarts(monkeypatch: pytest.MonkeyPatch, store: Store, learns: bool) -> None:
    held: list[bool] = []
    monkeypatch.setattr(converge, "restart", lambda *_: held.append(store.value is not None))
    seen = mock.Mock(witnesses=WITNESSES)
    seen.situation.learns = learns
    converge._take(Step.RESTART, ONE, mock.Mock(), mock.Mock(), seen)
    assert held == [not learns]
    assert store.value is None
