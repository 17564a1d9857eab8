"""Which generations may follow those of the last update."""

from hypothesis import given
from hypothesis import strategies as st

from components.plan.generations import check_generations

GENERATIONS = st.dictionaries(st.sampled_from(["etcd-1", "etcd-2", "etcd-3"]), st.integers(1, 5), min_size=1)


def test_one_slot_may_be_raised_and_the_first_update_compares_nothing() -> None:
    assert check_generations({"etcd-1": 1, "etcd-2": 1}, {"etcd-1": 2, "etcd-2": 1}) == []
    assert check_generations({}, {"etcd-1": 7, "etcd-2": 3}) == []


def test_raising_two_slots_together_is_refused_with_a_remedy() -> None:
    (problem,) = check_generations({"etcd-1": 1, "etcd-2": 1}, {"etcd-1": 2, "etcd-2": 2})
    assert problem.value == "etcd-1 from 1 to 2, etcd-2 from 1 to 2"
    assert problem.remedy == "Raise only that of etcd-1, run pulumi up, then raise the next one"


def test_a_lower_generation_is_refused() -> None:
    (problem,) = check_generations({"etcd-1": 3}, {"etcd-1": 2})
    assert "can only rise" in problem.rule


@given(GENERATIONS)
def test_unchanged_generations_are_allowed(generations: dict[str, int]) -> None:
    assert check_generations(generations, generations) == []


@given(GENERATIONS, GENERATIONS)
def test_an_allowed_change_replaces_at_most_one_machine(before: dict[str, int], after: dict[str, int]) -> None:
    changed = [name for name in before if after.get(name, before[name]) != before[name]]
    assert check_generations(before, after) != [] or len(changed) <= 1
