"""The order in which members are converged: missing members, joining members if others leave, then the list's order."""

from hypothesis import given
from hypothesis import strategies as st

from components.plan.guard.change import Change
from components.plan.guard.state import State

from .test_guard_properties import NAMES, state

subsets = st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=7)


def _with_machines(names: list[str], another: set[str]) -> State:
    return state(names, identities={name: f"machine {name in another}" for name in names})


def test_a_new_machine_is_converged_before_restarts() -> None:
    change = Change(_with_machines(NAMES[:3], set()), _with_machines(NAMES[:3], {"etcd-3"}))
    assert change.chain == ["etcd-3", "etcd-1", "etcd-2"]


def test_a_replaced_machine_is_converged_first() -> None:
    raised = {"etcd-1": 1, "etcd-2": 2, "etcd-3": 1}
    assert Change(state(NAMES[:3]), state(NAMES[:3], generations=raised)).chain == ["etcd-2", "etcd-1", "etcd-3"]


@given(subsets, subsets, st.sets(st.sampled_from(NAMES)))
def test_each_member_has_one_turn_missing_first_then_list_order(
    before: list[str], after: list[str], another: set[str]
) -> None:
    change = Change(_with_machines(before, set()), _with_machines(after, another))
    missing = [name for name in after if name in another and name in before]
    joining = [name for name in after if name not in before]
    rest = [name for name in after if name not in missing]
    if set(before) - set(after):
        rest = [*joining, *(name for name in rest if name not in joining)]
    assert change.chain == [*missing, *rest]
