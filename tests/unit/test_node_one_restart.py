"""Two runs from one state never restart two members at once."""

import json
from collections.abc import Iterator
from unittest import mock

import pytest

from components.node.cluster import claim, one_restart, roster
from components.node.cluster.one_restart import KEY, LEASE_SECONDS
from components.node.protocol import etcd
from components.node.shared.errors import NodeError
from components.node.steps.next_step import Step
from components.node.verbs import converge, space

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


@pytest.mark.parametrize(("seconds", "waits"), [("300", True), ("30", False), ("", False), ("x", False), (None, False)])
def test_an_update_waits_for_a_defragmentation_as_long_as_that_may_take(
    monkeypatch: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str], seconds: str | None, waits: bool
) -> None:
    """An earlier version does not say how long it may take."""
    clock = mock.Mock(monotonic=mock.Mock(side_effect=range(0, 10_000, 20)))
    monkeypatch.setattr(one_restart, "time", clock)
    monkeypatch.setattr(one_restart, "until", lambda *_, **__: range(1000))
    monkeypatch.setattr(one_restart, "_WAIT_SECONDS", 30.0)
    more: list[float] = []
    monkeypatch.setattr(one_restart, "more_time", more.append)
    value = {"member": "etcd-3", "run": "1"} | ({} if seconds is None else {"seconds": seconds})
    store.leases[99] = LEASE_SECONDS
    store.value = (json.dumps(value), 99)
    # It ends in the tenth look, after 200 s; a look is four requests.
    store.meanwhile = [*[lambda: None] * 36, lambda: store.leases.pop(99)]
    if waits:
        with one_restart.alone(TWO, WITNESSES):
            assert store.value is not None
            assert "etcd-2" in store.value[0]
        assert "waits up to 300 s until etcd-3 has been defragmented" in capsys.readouterr().err
    else:
        with (
            pytest.raises(NodeError, match="restarts or defragments etcd-3 now; nothing was restarted"),
            one_restart.alone(TWO, WITNESSES),
        ):
            pytest.fail("both at once")
    assert more == [300.0] * waits


def test_a_defragmentation_says_how_long_it_may_take(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    held: list[str] = []
    monkeypatch.setattr(claim, "holder_of", lambda *_: held.append(store.value[0] if store.value else ""))
    monkeypatch.setattr(etcd, "member_list", lambda *_: None)
    monkeypatch.setattr(roster, "everyone", lambda *_: ONE)
    monkeypatch.setattr(space, "step", lambda *_: None)
    space._defragment(a_spec(quota_bytes=2 << 30), asked=True)
    assert json.loads(held[0])["seconds"] == "355"  # a minute before and after, and 10 MiB a second


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
