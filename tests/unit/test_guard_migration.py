"""The guard in a migration: one phase after the other, nothing else meanwhile, and a quorum at every step."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import ChangeRefusedError
from components.plan import AuthorityPlan, ClusterPlan, MemberPlan, UserPlan
from components.plan.errors import PlanError
from components.plan.guard import State, Verdict, judge, read_state, wanted_state
from components.plan.guard.migration import unmigrated
from components.plan.guard.updates import updates
from components.plan.migration import BACK, PHASES, MigrationPlan

ALLOWED = {
    "": {"join", "back"},
    "join": {"join", "switch", "back"},
    "switch": {"switch", "join", "leave"},
    "leave": {"leave", "done"},
    "done": {"done"},
}
"""The last complete phase -> those that may follow, written without a look at the guard."""


def state(phase: str, planes: int = 3, members: int = 3, **plan: object) -> State:
    """The desired state in a phase."""
    slots = [MemberPlan(f"etcd-{n}", f"10.0.0.{n}") for n in range(1, members + 1)]
    stacked = {f"control-{n}": f"10.0.1.{n}" for n in range(1, planes + 1)}
    arguments: dict[str, object] = {
        "authorities": [AuthorityPlan("kubeadm", certificate=True, private_key=True)],
        "issuer": "kubeadm",
        "migration": MigrationPlan(phase, list(stacked.items())) if phase else None,
        **plan,
    }
    wanted = ClusterPlan("test", slots, "program", **arguments)  # type: ignore[arg-type]
    return wanted_state(wanted, generations={}, identities={}, certificates={})


def after(phase: str, planes: int = 3, members: int = 3) -> State | None:
    """What the output of a stack says when a phase is complete; None before the first."""
    return read_state(state(phase, planes, members).data()) if phase else None


def texts(verdict: Verdict) -> list[str]:
    return [str(step) for step in verdict.steps]


@pytest.mark.parametrize("before", ALLOWED)
@pytest.mark.parametrize("phase", [*PHASES, BACK])
def test_each_phase_is_accepted_only_after_the_one_before_it(before: str, phase: str) -> None:
    verdict = judge(after(before), state(phase))
    assert (phase in ALLOWED[before]) == (not verdict.refused), [str(each) for each in verdict.problems]


def test_a_skipped_phase_is_refused_with_the_updates_that_lead_there() -> None:
    verdict = judge(after("join"), state("leave"))
    assert "the last complete phase is join" in str(verdict.problems[0])
    assert verdict.updates == ("migration.phase: switch", "migration.phase: leave")
    assert judge(None, state("switch")).updates == ("migration.phase: join", "migration.phase: switch")


def test_there_is_no_way_back_from_the_phase_in_which_the_stacked_members_leave() -> None:
    verdict = judge(after("leave"), state("switch"))
    assert "there is no way back" in str(verdict.problems[0])
    assert verdict.updates == ()


@pytest.mark.parametrize("before", ["join", "switch", "leave", "done", "none"])
def test_the_way_back_has_an_override_only_while_stacked_members_are_in_the_cluster(before: str) -> None:
    there = read_state(state("" if before == "none" else before).data())
    verdict = judge(there, state("back"))
    assert bool(verdict.override) == (before == "switch")
    assert verdict.refused == (before != "join")
    given = judge(there, state("back"), verdict.override)
    assert given.refused == (before in ("leave", "done", "none"))
    assert all(step.spare >= 0 for step in given.steps)
    if given.refused:
        assert "To proceed anyway" not in str(ChangeRefusedError(given, "test", "override", ""))


@pytest.mark.parametrize("before", ALLOWED)
@pytest.mark.parametrize("phase", [*PHASES, BACK])
def test_the_steps_of_an_overridden_phase_can_be_printed(before: str, phase: str) -> None:
    wanted = state(phase)
    verdict = judge(after(before), wanted)
    given = judge(after(before), wanted, verdict.override)
    assert given.refused == (bool(verdict.problems) and not verdict.override)
    assert all(texts(given) or [given.refused or after(before)])


def test_an_existing_cluster_is_no_target_of_a_migration() -> None:
    there = read_state(state("").data())
    assert "A migration begins with a new stack" in str(judge(there, state("join")).problems[0])


def test_the_preview_of_the_first_phase_has_the_quorum_at_every_step() -> None:
    verdict = judge(None, state("join"))
    assert texts(verdict) == [
        "inspect the control planes control-1, control-2, control-3: nothing changes [3 voters, tolerates 1 failure]",
        "read the CA of etcd from control-1: it becomes the CA kubeadm [3 voters, tolerates 1 failure]",
        "save a snapshot of the data on the machines of etcd-1 and etcd-2 [3 voters, tolerates 1 failure]",
        "prepare etcd-1, etcd-2, etcd-3: no member stops [3 voters, tolerates 1 failure]",
        "etcd-1 joins as a learner [3 voters, tolerates 1 failure]",
        "etcd-1 is promoted to voter [4 voters, tolerates 1 failure]",
        "etcd-2 joins as a learner [4 voters, tolerates 1 failure]",
        "etcd-2 is promoted to voter [5 voters, tolerates 2 failures]",
        "etcd-3 joins as a learner [5 voters, tolerates 2 failures]",
        "etcd-3 is promoted to voter [6 voters, tolerates 2 failures]",
        "check the health of all members [6 voters, tolerates 2 failures]",
    ]
    assert list(verdict.chain) == ["etcd-1", "etcd-2", "etcd-3"]


def test_the_preview_of_the_switch_names_every_api_server() -> None:
    found = texts(judge(after("join"), state("switch")))
    assert [text for text in found if "API server" in text] == [
        f"the API server of control-{n} restarts with the members etcd-1, etcd-2, etcd-3, while all others serve "
        "[6 voters, tolerates 2 failures]"
        for n in (1, 2, 3)
    ]


def test_the_preview_names_the_point_of_no_return() -> None:
    found = texts(judge(after("switch"), state("leave")))
    removed = [text for text in found if "is removed" in text]
    assert removed == [
        "control-3 is removed; a leader is removed last (from here on there is no way back) "
        "[5 voters, tolerates 2 failures]",
        "control-2 is removed; a leader is removed last [4 voters, tolerates 1 failure]",
        "control-1 is removed; a leader is removed last [3 voters, tolerates 1 failure]",
    ]
    assert found[-1] == "kubeadm-config names the external etcd [3 voters, tolerates 1 failure]"
    assert not any("retire" in text for text in found)


def test_the_preview_of_the_way_back_has_the_quorum_at_every_step() -> None:
    assert texts(judge(after("join"), state("back"))) == [
        "inspect the control planes control-1, control-2, control-3: nothing changes [6 voters, tolerates 2 failures]",
        "etcd-3 is removed; a leader is removed last [5 voters, tolerates 2 failures]",
        "etcd-2 is removed; a leader is removed last [4 voters, tolerates 1 failure]",
        "etcd-1 is removed; a leader is removed last [3 voters, tolerates 1 failure]",
        "check the health of all members [3 voters, tolerates 1 failure]",
        "retire the machine of etcd-1 [3 voters, tolerates 1 failure]",
        "retire the machine of etcd-2 [3 voters, tolerates 1 failure]",
        "retire the machine of etcd-3 [3 voters, tolerates 1 failure]",
    ]


def test_after_the_last_phase_it_is_an_ordinary_cluster() -> None:
    done = after("done")
    assert done is not None
    assert list(done.members) == ["etcd-1", "etcd-2", "etcd-3"]
    assert judge(done, state("done")).steps == ()
    # Its CA is replaced like any other; then nothing is left of the migration.
    both = [AuthorityPlan("kubeadm", certificate=True, private_key=True), AuthorityPlan("2")]
    for wanted in (
        state("done", authorities=both, issuer="kubeadm"),
        state("done", authorities=both, issuer="2"),
        state("done", authorities=[AuthorityPlan("2")], issuer="2"),
        state("", authorities=[AuthorityPlan("2")], issuer="2"),
    ):
        assert not judge(done, wanted).refused
        done = read_state(wanted.data())
    assert done is not None
    assert not done.migration


def test_the_migration_stays_until_its_ca_is_replaced() -> None:
    assert "still trusts the CA kubeadm" in str(judge(after("done"), state("")).problems[0])


CHANGES: dict[str, dict[str, object]] = {
    "version": {"version": "3.6.15"},
    "flags": {"flags": {"max-txn-ops": "256"}},
    "members": {"members": 5},
    "control_planes": {"planes": 4, "members": 5},
    "trusted": {
        "authorities": [AuthorityPlan("kubeadm", certificate=True, private_key=True), AuthorityPlan("2")],
    },
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize(
    ("before", "phase"), [("join", "join"), ("join", "switch"), ("switch", "leave"), ("leave", "done")]
)
def test_nothing_else_changes_during_a_migration(what: str, before: str, phase: str) -> None:
    if (what, phase) == ("control_planes", "done"):
        return  # they are not needed any more
    verdict = judge(after(before), state(phase, **CHANGES[what]))  # type: ignore[arg-type]
    assert verdict.refused
    assert "nothing else can change" in str(verdict.problems[0])
    assert what in str(verdict.problems[0])


@pytest.mark.parametrize(
    ("before", "phase"), [("join", "join"), ("join", "switch"), ("switch", "leave"), ("leave", "done"), ("join", BACK)]
)
def test_what_others_have_changed_on_a_machine_keeps_no_phase_waiting(before: str, phase: str) -> None:
    wanted = replace(state(phase, drift_check="x"), put_right={"etcd-1": "x: /etc/etcd is missing"})
    verdict = judge(after(before), wanted)
    assert not verdict.problems
    assert verdict.steps


@given(
    st.sampled_from([(1, 3), (1, 5), (2, 3), (3, 3), (3, 5), (1, 7)]), st.lists(st.sampled_from(PHASES), max_size=12)
)
def test_no_sequence_of_accepted_phases_costs_the_quorum(size: tuple[int, int], wishes: list[str]) -> None:
    """A refused update is repeated with the first of the updates that the refusal names."""
    now: State | None = None
    for wish in wishes:
        wanted = state(wish, *size)
        verdict = judge(now, wanted)
        if verdict.refused:
            there = now or unmigrated(wanted)
            way = updates(there, wanted)
            assert len(way) == len(verdict.updates)
            if not way:
                continue
            wanted = way[0]
            verdict = judge(now, wanted)
        assert not verdict.refused
        assert all(step.spare >= 0 for step in verdict.steps), texts(verdict)
        # An interrupted phase is run again, from the same record.
        assert judge(now, wanted) == verdict
        now = read_state(verdict.state.data())
        assert now is not None
        assert wanted.same(now)


@pytest.mark.parametrize(
    ("before", "phase"),
    [("join", "join"), ("join", "switch"), ("switch", "switch"), ("leave", "leave")],
)
def test_a_control_plane_that_is_lost_for_good_is_given_up_and_its_member_removed(before: str, phase: str) -> None:
    verdict = judge(after(before), state(phase, planes=2))
    assert not verdict.refused, [str(each) for each in verdict.problems]
    said = texts(verdict)
    assert said[0].startswith("the control plane control-3 is given up: its node and its machine must be gone for good")
    removed = [text for text in said if "is removed" in text]
    assert removed == ([] if phase == "leave" else ["control-3 is removed [5 voters, tolerates 2 failures]"])
    # The phase may be run again, and the others continue.
    left = read_state(verdict.state.data())
    assert judge(left, state(phase, planes=2)).steps == ()


def test_an_interrupted_leave_can_give_up_a_control_plane() -> None:
    said = texts(judge(after("switch"), state("leave", planes=2)))
    assert "is given up" in said[0]
    assert sum("is removed" in text for text in said) == 3


def test_no_control_plane_is_given_up_on_the_way_back() -> None:
    """The control planes would remove its member as one of ours, healthy or not."""
    verdict = judge(after("join"), state("back", planes=2))
    assert "here also: control_planes" in str(verdict.problems[0])
    given = judge(after("join"), state("back", planes=2), verdict.override)
    assert not any("retire the machine of control-3" in text for text in texts(given))
    assert "here also: control_planes" in str(judge(after("switch"), state("join", planes=2)).problems[0])


ANOTHER = [AuthorityPlan("kubeadm", certificate=True, private_key=True), AuthorityPlan("2")]
ONLY_WHEN_DONE: dict[str, tuple[dict[str, object], str]] = {
    "authentication": ({"authentication": True}, "authentication"),
    "users": ({"authentication": True, "users": [UserPlan("backup", "/backup/", "read")]}, "authentication"),
    "issuer": ({"authorities": ANOTHER, "issuer": "2"}, "issuer"),
    "peers": ({"peer_authorities": [AuthorityPlan("2")], "peer_issuer": "2"}, "peer_issuer"),
}


@pytest.mark.parametrize("what", ONLY_WHEN_DONE)
def test_what_would_shut_out_the_control_planes_waits_until_the_end(what: str) -> None:
    arguments, key = ONLY_WHEN_DONE[what]
    for phase in ("join", "switch", "leave", "back"):
        with pytest.raises(PlanError) as error:
            state(phase, **arguments)  # type: ignore[arg-type]
        assert [problem.key for problem in error.value.problems] == [key]
    state("done", **arguments)  # type: ignore[arg-type]


def test_a_release_whose_removed_members_reappear_is_refused_for_a_migration() -> None:
    with pytest.raises(PlanError, match="members that were removed can reappear"):
        state("join", version="3.5.25")
    state("join", version="3.5.26")
    state("", version="3.5.25", authorities=[AuthorityPlan("1")], issuer="1")


def test_other_clusters_leave_what_they_left_before_there_were_migrations() -> None:
    data = state("", authorities=[AuthorityPlan("1")], issuer="1").data()
    assert not {"migration", "control_planes", "planes_order"} & set(data)


@pytest.mark.parametrize(
    ("migration", "members", "said"),
    [
        (MigrationPlan("jion", [("control-1", "10.0.1.1")]), 3, "Did you mean 'join'?"),
        (MigrationPlan("join"), 3, "needs the control planes with stacked etcd"),
        (MigrationPlan("join", [("control-1", "10.0.1.1")]), 1, "at least 3, no fewer than control planes"),
        (MigrationPlan("join", [(f"c{n}", f"10.0.1.{n}") for n in range(5)]), 3, "at least 5, no fewer than"),
        (MigrationPlan("join", [("control-1", "10.0.0.1")]), 3, "cannot be both a control plane and a member"),
        (MigrationPlan("join", [("etcd-1", "10.0.1.1")]), 3, "cannot be both a control plane and a member"),
        (MigrationPlan("join", [("a", "10.0.1.1"), ("b", "10.0.1.1")]), 3, "must have its own address"),
        (MigrationPlan("join", [("a", "10.0.1.1"), ("a", "10.0.1.2")]), 3, "must have its own name"),
        (MigrationPlan("join", [("Control", "10.0.1.1")]), 3, "must be that of its node"),
        (MigrationPlan("join", [("control-1", "localhost")]), 3, "migration.control_planes[0].address"),
    ],
)
def test_a_migration_that_is_not_possible_is_refused(migration: MigrationPlan, members: int, said: str) -> None:
    with pytest.raises(PlanError) as error:
        state("join", members=members, migration=migration)
    assert said in str(error.value)


def test_the_planes_of_the_last_phase_are_not_needed() -> None:
    assert replace(state("done"), serial=0) == state("done", migration=MigrationPlan("done"))
