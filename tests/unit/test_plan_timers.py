"""Timers that are derived from measured round trips, and what can be acknowledged."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cluster import cluster_plan
from components.plan import ClusterPlan, MemberPlan, PlanError, bootstrap_spec, member_specs
from components.plan.acknowledge import ACKNOWLEDGED, check_acknowledge
from components.plan.flags import check_timing
from components.plan.guard import judge, read_state, rules
from components.plan.guard.change import Change
from components.plan.guard.state import State, wanted_state
from components.plan.timers import Timers, derive, derived, longest, toward

from .node_support import a_spec

PLAN = ClusterPlan("dev", [MemberPlan(f"etcd-{number}", f"10.0.0.{number}") for number in (1, 2, 3)], "")
NAMES = [member.name for member in PLAN.members]
TIMERS = st.builds(
    lambda beat, more: Timers(beat, min(50_000, 5 * beat + more)), st.integers(1, 5000), st.integers(0, 50_000)
)


def _measured(trip: float) -> dict[str, Any]:
    """What two of three machines have measured: every pair in one direction at least."""
    trips = {"etcd-1": {"etcd-2": 0.2}, "etcd-3": {"etcd-1": 0.1, "etcd-2": trip}}
    return {name: {"round_trips_ms": found, "round_trips_ms_at": 1} for name, found in trips.items()}


@pytest.mark.parametrize(
    ("trip", "timers"),
    [
        (0.2, Timers(100, 1000)),
        (5, Timers(100, 1000)),
        (40, Timers(100, 1000)),
        (66, Timers(100, 1000)),
        (80, Timers(120, 1200)),
        (250, Timers(380, 3800)),
        (10_000, Timers(5000, 50_000)),
    ],
)
def test_timers_follow_the_longest_round_trip(trip: float, timers: Timers) -> None:
    assert derive(trip) == timers
    assert longest(_measured(trip), NAMES) == trip


@given(st.floats(0, 3000))
def test_derived_timers_satisfy_the_rules_of_etcd(trip: float) -> None:
    timers = derive(trip)
    assert check_timing(timers.heartbeat_ms, timers.election_ms) == []
    assert timers.heartbeat_ms >= max(100, trip)
    assert timers.election_ms >= max(1000, 10 * trip)


@given(TIMERS, st.floats(0, 10_000))
def test_each_update_towards_other_timers_is_one_that_the_guard_accepts(now: Timers, trip: float) -> None:
    target = derive(trip)
    for _ in range(2):
        after = toward(now, target)
        before, wanted = (
            wanted_state(
                replace(PLAN, heartbeat_interval_ms=each.heartbeat_ms, election_timeout_ms=each.election_ms),
                generations={},
                identities={},
                certificates={},
            )
            for each in (now, after)
        )
        assert rules.check(Change(before, wanted)) == []
        now = after
    assert now == target


def test_a_pair_that_was_not_measured_changes_no_timers() -> None:
    measured, now = _measured(200), Timers(50, 300)
    assert derived(now, measured, NAMES) == toward(now, derive(200))
    assert derived(now, measured, [*NAMES, "etcd-4"]) == now
    assert derived(now, {}, NAMES) == now
    assert derived(now, {}, ["etcd-1"]) == toward(now, Timers())
    assert derived(Timers(), measured, ["etcd-1", "etcd-2"]) == Timers()


def test_of_two_ends_of_a_link_the_last_measurement_counts() -> None:
    ends = {
        "etcd-1": {"round_trips_ms": {"etcd-2": 140.0}, "round_trips_ms_at": 100},
        "etcd-2": {"round_trips_ms": {"etcd-1": 0.3}, "round_trips_ms_at": 200.0},
    }
    assert longest(ends, ["etcd-1", "etcd-2"]) == 0.3


def _plan(previous: dict[str, Any] | None) -> ClusterPlan:
    args: Any = {"heartbeat_interval_ms": "auto", "previous": previous}
    return cluster_plan("dev", args, PLAN.members)


def test_auto_alone_restarts_no_member() -> None:
    """Also when the round trips are known, and call for etcd's defaults."""
    state = wanted_state(PLAN, generations={}, identities={}, certificates={})
    flags = [spec["flags"] for spec in member_specs(PLAN).values()]
    for previous in (None, state.data(), {**state.data(), "measured": _measured(40)}):
        specs = member_specs(_plan(previous)).values()
        assert [spec["flags"] for spec in specs] == flags
        assert all(spec["auto_timers"] for spec in specs)


def test_the_update_after_a_measurement_has_the_derived_timers() -> None:
    state = wanted_state(PLAN, generations={}, identities={}, certificates={})
    for spec in member_specs(_plan({**state.data(), "measured": _measured(80.0)})).values():
        assert (spec["flags"]["--heartbeat-interval"], spec["flags"]["--election-timeout"]) == ("120", "1200")


@pytest.mark.parametrize(("phase", "heartbeat"), [("join", None), ("switch", None), ("leave", None), ("done", "120")])
def test_timers_stay_until_a_migration_is_complete(phase: str, heartbeat: str | None) -> None:
    """Its phases are refused together with any other change, which nobody could set back."""
    known = wanted_state(PLAN, generations={}, identities={}, certificates={}).data()
    previous = {**known, "migration": phase, "planes_order": [], "measured": _measured(80.0)}
    for spec in member_specs(_plan(previous)).values():
        assert spec["flags"].get("--heartbeat-interval") == heartbeat


GENERATIONS = dict.fromkeys(NAMES, 1)


def _wanted(previous: dict[str, Any], names: list[str], generations: dict[str, int]) -> State:
    members = [MemberPlan(name, f"10.0.0.{name[-1]}") for name in names]
    args: Any = {"heartbeat_interval_ms": "auto", "previous": previous}
    plan = cluster_plan("dev", args, members, generations=generations)
    return wanted_state(plan, generations=generations, identities={}, certificates={})


@given(
    TIMERS,
    st.floats(0, 10_000),
    st.lists(st.sampled_from([*NAMES, "etcd-4", "etcd-5"]), unique=True).filter(lambda names: len(names) in (1, 3, 5)),
    st.dictionaries(st.sampled_from(NAMES), st.just(2), max_size=1),
)
def test_pending_timers_hinder_no_change_of_machines_or_members(
    now: Timers, trip: float, names: list[str], raised: dict[str, int]
) -> None:
    """What is accepted with timers that are given is accepted with `auto`, and restarts nobody for other timers."""
    plan = replace(PLAN, heartbeat_interval_ms=now.heartbeat_ms, election_timeout_ms=now.election_ms)
    given_ = wanted_state(plan, generations=GENERATIONS, identities={}, certificates={})
    previous = {**given_.data(), "measured": _measured(trip)}
    generations = {name: {**GENERATIONS, **raised}.get(name, 1) for name in names}
    wanted = _wanted(previous, names, generations)
    changes = {*names} != {*NAMES} or any(name in names for name in raised)
    kept = (wanted.heartbeat_ms, wanted.election_ms) == (now.heartbeat_ms, now.election_ms)
    assert kept or not changes
    before = read_state(previous)
    assert before is not None
    if changes:
        given_again = replace(given_, members=wanted.members, data_directories=wanted.data_directories)
        given_again = replace(given_again, generations=generations, origins=wanted.origins)
        assert judge(before, wanted).problems == judge(before, given_again).problems
    else:
        assert not judge(before, wanted).refused


def test_timers_follow_in_the_update_after_a_machine_was_replaced() -> None:
    before = wanted_state(PLAN, generations=GENERATIONS, identities={}, certificates={})
    previous, raised = {**before.data(), "measured": _measured(80.0)}, {**GENERATIONS, "etcd-2": 2}
    replaced = judge(before, _wanted(previous, NAMES, raised))
    assert not replaced.refused
    assert replaced.state.election_ms == 1000
    after = _wanted({**replaced.state.data(), "measured": _measured(80.0)}, NAMES, raised)
    assert (after.heartbeat_ms, after.election_ms) == (120, 1200)
    assert not judge(replaced.state, after).refused


def test_auto_leaves_no_room_for_an_election_timeout() -> None:
    assert check_timing("auto", None) == []
    (problem,) = check_timing("auto", 1000, "heartbeatIntervalMs", "electionTimeoutMs")
    assert (problem.key, problem.remedy) == ("electionTimeoutMs", "Remove it")
    (problem,) = check_timing("automatic", None, "heartbeatIntervalMs")
    assert problem.key == "heartbeatIntervalMs"


@given(st.lists(st.sampled_from([*ACKNOWLEDGED, "slow-disc", "all", ""]), max_size=4))
def test_only_what_is_known_can_be_acknowledged_and_once(given_: list[str]) -> None:
    plan = replace(PLAN, acknowledge=given_)
    if set(given_) <= set(ACKNOWLEDGED) and len(set(given_)) == len(given_):
        for spec in member_specs(plan).values():
            assert set(a_spec(**{key: spec[key] for key in ("acknowledge",) if key in spec}).acknowledge) == set(given_)
    else:
        with pytest.raises(PlanError) as refused:
            member_specs(plan)
        assert all(problem.key.startswith("acknowledge[") for problem in refused.value.problems)


def test_a_misspelled_acknowledgement_gets_the_right_name() -> None:
    (problem,) = check_acknowledge(["slow-disc"])
    assert problem.remedy == "Did you mean 'slow-disk'?"


def test_the_bootstrap_knows_what_it_needs_to_judge_links() -> None:
    plan = replace(PLAN, acknowledge=["slow-link"], heartbeat_interval_ms=50, election_timeout_ms=300)
    spec = bootstrap_spec(member_specs(plan)["etcd-1"], NAMES, "dev-1")
    assert (spec["acknowledge"], spec["flags"]) == (["slow-link"], {"--election-timeout": "300"})
