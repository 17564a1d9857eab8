"""Only one operator at a time holds the claim on a cluster, even with concurrent requests."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.cluster import claim
from components.node.cluster.claim import KEY, LEASE_SECONDS, Claim
from components.node.protocol import etcd
from components.node.shared import limits
from components.node.shared.errors import NodeError
from components.node.shared.spec import Operator

from .key_store import Store
from .node_support import a_spec

ONE, TWO = Operator("1" * 16, "one@here"), Operator("2" * 16, "two@there")
ANYBODY = ["10.99.0.11"]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store(KEY, LEASE_SECONDS)
    monkeypatch.setattr(etcd, "etcdctl", made.etcdctl)
    monkeypatch.setattr(claim, "_keep_alive", lambda *_: None)
    yield made


def hold(operator: Operator | None) -> None:
    """One verb of this operator, on any machine."""
    Claim(a_spec(), operator).hold(ANYBODY)


def test_a_lease_outlasts_every_verb_that_changes_a_cluster() -> None:
    assert limits.DEADLINES["converge"] < LEASE_SECONDS


def test_a_second_operator_is_refused_and_told_the_holder(store: Store) -> None:
    hold(ONE)
    store.now = 100
    with pytest.raises(NodeError, match=rf"one@here \(operator {ONE.id}\) since 20.*nothing was changed") as refused:
        hold(TWO)
    assert "in 140 s" in refused.value.remedy


def test_the_same_operator_continues_with_the_same_start_time(store: Store) -> None:
    hold(ONE)
    before = claim.holder_of(a_spec(), ANYBODY)
    store.now = 200
    hold(ONE)
    assert claim.holder_of(a_spec(), ANYBODY) == before
    assert store.leases == {1: 200 + LEASE_SECONDS}


def test_the_claim_of_a_dead_run_expires(store: Store) -> None:
    hold(ONE)
    store.now = LEASE_SECONDS
    hold(TWO)


def test_a_claim_that_expires_during_renewal_is_created_again(store: Store) -> None:
    hold(ONE)
    store.meanwhile = [lambda: None, lambda: setattr(store, "now", LEASE_SECONDS + 1)]
    hold(ONE)
    assert store.value is not None


def test_a_slow_claim_succeeds_after_a_quick_one_ends(store: Store) -> None:
    # After the look and the lease, before the key; and again before the second look.
    store.meanwhile = [
        lambda: None,
        lambda: None,
        lambda: hold(TWO),
        lambda: None,
        lambda: Claim(a_spec(), TWO).release(ANYBODY),
    ]
    hold(ONE)
    holder = claim.holder_of(a_spec(), ANYBODY)
    assert holder is not None
    assert holder.operator == ONE


def test_a_release_never_touches_another_operators_claim(store: Store) -> None:
    hold(ONE)
    Claim(a_spec(), TWO).release(ANYBODY)
    assert store.value is not None
    Claim(a_spec(), ONE).release(ANYBODY)
    assert store.value is None
    assert store.leases == {}


def test_without_a_quorum_or_an_operator_nothing_is_claimed(store: Store) -> None:
    Claim(a_spec(), ONE).hold([])
    hold(None)
    assert store.value is None


def test_a_full_database_still_refuses_a_second_operator(store: Store) -> None:
    store.full = True
    hold(ONE)
    assert store.value is None
    store.full = False
    hold(ONE)
    store.full = True
    with pytest.raises(NodeError, match="one@here"):
        hold(TWO)


def test_an_unreadable_claim_is_respected(store: Store) -> None:
    store.leases, store.value = {7: 1000.0}, ("what is this", 7)
    with pytest.raises(NodeError, match="somebody unknown"):
        hold(ONE)


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.floats(0, 100), st.integers(0, 4)), min_size=2, max_size=12))
def test_two_operators_never_hold_the_claim_at_once(turns: list[tuple[Operator, float, int]]) -> None:
    """An accepted verb keeps other operators out until its deadline, even if one of them asks in between."""
    made = Store(KEY, LEASE_SECONDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(etcd, "etcdctl", made.etcdctl)
        patch.setattr(claim, "_keep_alive", lambda *_: None)
        let_through: list[tuple[float, Operator]] = []

        def attempt(operator: Operator) -> None:
            try:
                hold(operator)
            except NodeError:
                return
            let_through.append((made.now, operator))

        for operator, pause, when in turns:
            other = TWO if operator is ONE else ONE
            made.now += pause
            made.meanwhile = [lambda: None] * when + [lambda other=other: attempt(other)]
            attempt(operator)
        for at, operator in let_through:
            for later, other in let_through:
                assert other == operator or not at <= later < at + limits.DEADLINES["converge"]
