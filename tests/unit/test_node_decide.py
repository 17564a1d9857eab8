"""The next step of etcd-node, decided from the live state."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.cluster import quorum_rules
from components.node.cluster.quorum_rules import Voter
from components.node.protocol.etcd import Member, Membership
from components.node.shared.errors import NodeError
from components.node.steps import begin, remove
from components.node.steps.next_step import Situation, Step, next_step

from .node_support import a_member, a_status

THREE = Membership(77, tuple(a_member(number) for number in (1, 2, 3)))
ME, MY_URL = "etcd-3", "https://10.99.0.13:2380"


def now(**changes: Any) -> Situation:
    """The member etcd-3, in its desired state, in a cluster of three."""
    usual: dict[str, Any] = {
        "member": ME,
        "peer_url": MY_URL,
        "has_data": True,
        "member_id": 3,
        "cluster_id": 77,
        "identified": True,
        "runs": True,
        "differs": (),
        "quorum": THREE,
    }
    return Situation(**{**usual, **changes})


NO_DATA: dict[str, Any] = {"has_data": False, "member_id": None, "cluster_id": None, "runs": False}


LEARNS = Membership(77, (a_member(1), a_member(2), a_member(3, learner=True)))
STEPS: dict[str, tuple[dict[str, Any], Step]] = {
    "a member in the desired state is left alone": ({}, Step.DONE),
    "an empty data directory in an existing cluster joins": (NO_DATA, Step.JOIN),
    "slot 0 has no special role": ({**NO_DATA, "member": "etcd-1", "peer_url": "https://10.99.0.11:2380"}, Step.JOIN),
    "data of a removed member is moved aside": ({"member_id": 9}, Step.REJOIN),
    "a removal is only believed from a member with quorum": ({"member_id": 9, "quorum": None}, Step.DONE),
    "outdated data is moved aside": ({"forgets": True, "runs": False}, Step.REJOIN),
    "outdated data stays if the member cannot rejoin": ({"forgets": True, "runs": False, "quorum": None}, Step.START),
    "unknown data is accepted if the cluster knows its ID": ({"identified": False}, Step.ADOPT),
    "a stopped member is started even without a quorum": ({"runs": False, "quorum": None}, Step.START),
    "a changed setting needs a restart": ({"differs": ("--quota-backend-bytes",)}, Step.RESTART),
    "a learner is promoted": ({"quorum": LEARNS}, Step.PROMOTE),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an empty data directory is not bootstrapped without answers": ({**NO_DATA, "quorum": None}, "never bootstrapped"),
    "data of another cluster": ({"cluster_id": 78}, "data are untouched"),
    "unknown data that no member can confirm": ({"identified": False, "quorum": None}, "data are untouched"),
    "a new address for a running member": ({"peer_url": "https://10.99.0.99:2380"}, "keeps its address"),
}


@pytest.mark.parametrize("what", STEPS)
def test_the_next_step_follows_from_the_live_state(what: str) -> None:
    changes, step = STEPS[what]
    assert next_step(now(**changes)) is step


@pytest.mark.parametrize("what", REFUSED)
def test_an_unsafe_step_is_refused(what: str) -> None:
    changes, said = REFUSED[what]
    with pytest.raises(NodeError, match=said):
        next_step(now(**changes))


situations = st.builds(
    now,
    has_data=st.booleans(),
    member_id=st.sampled_from([None, 1, 3, 9]),
    cluster_id=st.sampled_from([None, 77, 78]),
    identified=st.booleans(),
    runs=st.booleans(),
    differs=st.sampled_from([(), ("--x",)]),
    quorum=st.sampled_from([None, THREE, Membership(77, THREE.members[:2])]),
    forgets=st.booleans(),
)


@given(situations)
def test_data_is_only_given_up_if_a_quorum_confirms_it(situation: Situation) -> None:
    try:
        step = next_step(situation)
    except NodeError:
        return
    if step in (Step.JOIN, Step.REJOIN, Step.ADOPT):
        assert situation.quorum is not None
    if step is Step.REJOIN and not situation.forgets:
        assert situation.member_id not in [entry.id for entry in situation.quorum.members]  # type: ignore[union-attr]
    if step in (Step.START, Step.RESTART, Step.DONE, Step.PROMOTE):
        assert situation.has_data
        assert situation.identified


voters = st.lists(st.booleans(), max_size=7).map(
    lambda sick: [Voter(f"etcd-{number}", "down" if down else "") for number, down in enumerate(sick, 1)]
)


@given(voters, st.integers(1, 8))
def test_a_stop_that_costs_the_quorum_is_refused(all_voters: list[Voter], number: int) -> None:
    me = f"etcd-{number}"
    try:
        quorum_rules.refuse_stop(me, all_voters)
    except NodeError as error:
        assert "nothing was restarted" in error.cause
        return
    others = [voter for voter in all_voters if voter.name != me]
    if others:
        assert not any(voter.trouble for voter in others)
        assert len(others) >= quorum_rules.quorum_of(len({*(voter.name for voter in all_voters), me}))


def test_a_cluster_of_one_may_be_restarted() -> None:
    quorum_rules.refuse_stop("etcd-1", [Voter("etcd-1", "not ready")])


def test_a_refused_stop_names_the_member_and_its_error() -> None:
    with pytest.raises(NodeError, match="etcd-2: connection refused"):
        quorum_rules.refuse_stop("etcd-1", [Voter("etcd-1"), Voter("etcd-2", "connection refused"), Voter("etcd-3")])


def test_a_full_member_is_reported_with_a_remedy() -> None:
    with pytest.raises(NodeError) as caught:
        quorum_rules.refuse_stop("etcd-1", [Voter("etcd-2", "alarm NOSPACE of etcd-2"), Voter("etcd-3")])
    assert "recover-space" in caught.value.remedy


@given(st.lists(st.sampled_from(["", "connection refused"]), min_size=1, max_size=7), st.integers(1, 7))
def test_a_machine_is_replaced_only_if_the_others_keep_quorum(troubles: list[str], number: int) -> None:
    voters = [Voter(f"etcd-{index}", trouble) for index, trouble in enumerate(troubles, start=1)]
    going = f"etcd-{min(number, len(voters))}"
    healthy = [voter for voter in voters if voter.name != going and not voter.trouble]
    dead = any(voter.name == going and voter.trouble for voter in voters)
    carried = len(healthy) >= quorum_rules.quorum_of(len(voters))
    allowed = carried and (dead or len(healthy) == len(voters) - 1)
    with contextlib.nullcontext() if allowed else pytest.raises(NodeError, match="stays as it is"):
        quorum_rules.refuse_drain(going, voters)


@given(voters, st.integers(1, 8), st.integers(0, 2))
def test_a_removal_must_leave_a_healthy_majority(all_voters: list[Voter], number: int, removed: int) -> None:
    me = f"etcd-{number}"
    healthy = sum(1 for voter in all_voters if voter.name != me and not voter.trouble)
    carried = healthy >= quorum_rules.quorum_of(len(all_voters) - removed)
    with contextlib.nullcontext() if carried or not removed else pytest.raises(NodeError, match="nothing was changed"):
        quorum_rules.refuse_removal(me, all_voters, removed)


def test_a_removal_refused_by_an_alarm_names_the_remedy() -> None:
    full = [Voter(f"etcd-{number}", "alarm NOSPACE of etcd-2") for number in (1, 2)]
    with pytest.raises(NodeError, match=r"0 of the other 2 voters are healthy .*alarm NOSPACE of etcd-2") as caught:
        quorum_rules.refuse_removal("etcd-3", [*full, Voter("etcd-3", "connection refused")], 1)
    assert "recover-space" in caught.value.remedy


def test_a_lost_member_has_its_own_remedy() -> None:
    with pytest.raises(NodeError) as stranger:
        quorum_rules.refuse_stop("etcd-1", [Voter("etcd-2"), Voter("other", f"{quorum_rules.STRANGER} (ID b)")])
    assert "etcdctl member remove" in stranger.value.remedy
    # In a migration it may be that of a control plane.
    assert stranger.value.remedy.index("migration.controlPlanes") < stranger.value.remedy.index("etcdctl member remove")
    corrupt = "etcd-2: [-]data_corruption failed: alarm activated: CORRUPT"
    with pytest.raises(NodeError) as differs:
        next_step(now(**NO_DATA, quorum=None, silence=corrupt))
    for words in ("etcdctl alarm list", "docs/operations.md"):
        assert words in differs.value.remedy


def _listed(name: str, number: int, *, learner: bool = False) -> Member:
    return Member(number, name, (f"https://{name}:2380",), (f"https://{name}:2379",), learner)


def test_learners_leave_first_then_unhealthy_members_and_the_leader_last() -> None:
    leaving = [_listed("a", 1), _listed("b", 2), _listed("c", 3), _listed("d", 4, learner=True)]
    voters = [Voter("a"), Voter("b"), Voter("c", "no answer in time"), Voter("e")]
    order = []
    while leaving:
        entry = remove.next_to_leave(leaving, voters, "a")
        order.append(entry.name)
        leaving.remove(entry)
    assert order == ["d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("sick", "refused"),
    [((), False), (("e",), False), (("d",), False), (("d", "e"), False), (("a",), True), (("c", "d"), True)],
)
def test_a_member_leaves_only_while_all_remaining_ones_are_healthy(sick: tuple[str, ...], refused: bool) -> None:
    voters = [Voter(name, "connection refused" if name in sick else "") for name in "abcde"]
    context = pytest.raises(NodeError, match="it was not removed") if refused else contextlib.nullcontext()
    with context:
        quorum_rules.refuse_leaving(_listed("e", 5), ["a", "b", "c"], voters)


def test_the_last_healthy_member_of_two_does_not_leave() -> None:
    with pytest.raises(NodeError, match="it was not removed"):
        quorum_rules.refuse_leaving(_listed("b", 2), ["a"], [Voter("a", "connection refused"), Voter("b")])


def test_leadership_goes_to_the_first_healthy_voter_that_is_up_to_date() -> None:
    all_voters = [Voter("etcd-1"), Voter("etcd-2", "down"), Voter("etcd-3"), Voter("etcd-4"), Voter("etcd-5")]
    statuses = {f"etcd-{number}": a_status(number) for number in (1, 2, 4, 5)} | {"etcd-3": a_status(3, index=10)}
    assert quorum_rules.heir("etcd-1", all_voters, statuses) == "etcd-4"
    assert quorum_rules.heir("etcd-1", all_voters[:2], statuses) is None


def test_a_lagging_member_or_one_with_another_leader_is_unhealthy() -> None:
    leader = a_status(1)
    assert quorum_rules.trouble_of(a_status(2), leader) == ""
    assert "behind" in quorum_rules.trouble_of(a_status(2, index=0), a_status(1, index=100_000))
    assert "another leader" in quorum_rules.trouble_of(a_status(2, leader=3), leader)
    assert "no leader" in quorum_rules.trouble_of(a_status(2, leader=0), leader)
    assert quorum_rules.trouble_of(None, leader) == "no status"


def test_an_unknown_cluster_is_bootstrapped() -> None:
    assert begin.may_begin(ME, MY_URL, {})


def test_an_interrupted_bootstrap_is_resumed() -> None:
    # From the start, the entries of initial members have names, but no client URLs until these have run.
    mine = a_member(3, started=False)
    view = Membership(77, (a_member(1), a_member(2, started=False), mine))
    assert begin.may_begin(ME, MY_URL, {"etcd-1": view})


@pytest.mark.parametrize("members", [(1, 2), (1, 2, 3)])
def test_an_existing_cluster_is_left_to_converge(members: tuple[int, ...]) -> None:
    view = Membership(77, tuple(a_member(number) for number in members))
    assert not begin.may_begin(ME, MY_URL, {"etcd-1": view})


def test_one_contradicting_member_is_enough() -> None:
    young = Membership(77, (a_member(1), a_member(2), a_member(3, started=False)))
    assert not begin.may_begin(ME, MY_URL, {"etcd-1": young, "etcd-2": THREE})


def test_only_members_off_the_list_leave() -> None:
    members = Membership(77, (a_member(1), a_member(2), a_member(3)))
    gone = {"etcd-2": a_member(2).peer_urls[0], "etcd-9": a_member(3).peer_urls[0]}
    wanted = {f"etcd-{number}": a_member(number).peer_urls[0] for number in (1, 3)}
    # The address of etcd-9 now belongs to etcd-3.
    assert remove.leaving(gone, wanted, members) == [a_member(2)]
    unstarted = Membership(77, (a_member(1), a_member(3, started=False)))
    assert remove.leaving(gone, wanted, unstarted) == []


def test_an_abandoned_learner_leaves_before_another_member_joins() -> None:
    members = Membership(77, (a_member(1), a_member(2), a_member(3, learner=True)))
    assert not remove.stays_for_now(a_member(3, learner=True), ["etcd-1", "etcd-2", "etcd-4"], members)
    assert remove.stays_for_now(a_member(2), ["etcd-1", "etcd-4"], members)
    assert remove.stays_for_now(a_member(2), ["etcd-1", "etcd-3"], members), "etcd-3 does not vote yet"
    assert not remove.stays_for_now(a_member(2), ["etcd-1"], members)


def test_a_blocking_learner_is_named_with_a_remedy() -> None:
    quorum_rules.refuse_another_learner("etcd-4", THREE)
    members = Membership(77, (a_member(1), a_member(11, learner=True)))
    with pytest.raises(NodeError, match=r"etcd-4 cannot join: etcd-11 \(ID b\) is already a learner") as caught:
        quorum_rules.refuse_another_learner("etcd-4", members)
    assert "etcdctl member remove b" in caught.value.remedy
