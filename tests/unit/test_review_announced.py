"""Every line that the guard announces is known to `external-etcd review`, by its form."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.plan.guard import State, Step, judge
from components.plan.guard.state import following
from components.plan.guard.steps import access, restored
from components.review.announced import RESTORE, UNKNOWN, USER_GRANTED, announced
from tests.unit import test_guard_migration as migrations
from tests.unit.test_guard_properties import states, wishes
from tests.unit.test_guard_steps import cluster


def assert_known(steps: list[Step]) -> None:
    for number, step in enumerate(steps, start=1):
        found = announced(f"{number:2}. {step}")
        assert found is not None, step
        assert found.kind != UNKNOWN, step
        assert (found.step.voters, found.step.serving) == (step.voters, step.serving)
        # What is free text is not repeated.
        assert found.kind in (RESTORE, USER_GRANTED) or found.step.text == step.text


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_step_of_a_change_is_known(data: st.DataObject) -> None:
    before = following(None, data.draw(states()), ())
    slow = data.draw(st.sampled_from([(), ("slow-disk",), ("slow-link",), ("slow-disk", "slow-link")]))
    verdict = judge(before, data.draw(wishes(before)), acknowledge=slow)
    if verdict.refused:
        verdict = judge(before, verdict.state, verdict.override, acknowledge=slow)
    assert_known(list(verdict.steps))


@pytest.mark.parametrize(
    ("before", "phase"), [(before, phase) for before, phases in migrations.ALLOWED.items() for phase in sorted(phases)]
)
def test_every_step_of_a_migration_is_known(before: str, phase: str) -> None:
    assert_known(list(judge(migrations.after(before), migrations.state(phase)).steps))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, cluster()),
        (cluster(), cluster(image="x" * 64)),
        (cluster(), cluster(identities={"etcd-2": "another"})),
        (cluster(identities={"etcd-2": "one"}), cluster(identities={"etcd-2": "another"})),
    ],
)
def test_rarer_steps_are_known(before: State | None, after: State) -> None:
    assert_known(list(judge(before, after, acknowledge=["slow-link"]).steps))


def test_the_steps_of_a_restore_are_known_without_the_name_of_the_file() -> None:
    steps = restored(replace(cluster(), restores="./a canary.db (revision 7)"))
    assert_known(steps)
    assert "canary" not in str([announced(f" 1. {step}") for step in steps])


@pytest.mark.parametrize("was", [False, True])
@pytest.mark.parametrize("on", [False, True])
def test_the_steps_for_users_are_known_without_their_keys(was: bool, on: bool) -> None:
    users = {"backup-tool": "read /canary/", "new": "readwrite /canary/"}
    before = {"backup-tool": "write /canary/", "gone": "read /x/"}
    texts = list(access(before, replace(cluster(), users=users, authentication=on), was=was))
    steps = [Step(text, 3, 3) for text in texts]
    assert len(steps) >= 3
    assert_known(steps)
    assert "canary" not in str([announced(f" 1. {step}") for step in steps])


@given(st.integers(0, 8), st.data())
def test_a_printed_step_is_read_back(voters: int, data: st.DataObject) -> None:
    step = Step("etcd-1 restarts: --max-txn-ops", voters, data.draw(st.integers(0, voters)))
    assert Step.read(str(step)) == step


@pytest.mark.parametrize(
    "line",
    [
        "etcd-1 joins as a learner [3 voters, tolerates 1 failure]",
        " 1. etcd-1 joins as a learner",
        " 1. etcd-1 joins as a learner [3 voters, tolerates 7 failures]",
        " 1. etcd-1 joins as a learner [3 voters, tolerates 1 failure] canary",
        " x. etcd-1 joins as a learner [3 voters, tolerates 1 failure]",
    ],
)
def test_other_lines_are_no_steps(line: str) -> None:
    assert announced(line) is None


@pytest.mark.parametrize("text", ["etcd-1 joins as a canary", "etcd-1 restarts: --flag=canary", "canary"])
def test_a_step_of_an_unknown_form_keeps_its_quorum_but_not_its_text(text: str) -> None:
    found = announced(f" 1. {Step(text, 3, 2)}")
    assert found is not None
    assert (found.kind, found.step) == (UNKNOWN, Step("", 3, 2))
