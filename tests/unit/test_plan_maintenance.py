"""What machines do by themselves about the size of the database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan.maintenance import MaintenancePlan, check_maintenance

from .node_support import a_spec


def test_by_default_a_specification_says_nothing() -> None:
    assert MaintenancePlan().data() == {}


@given(st.builds(MaintenancePlan, st.booleans(), st.integers(1, 99), st.integers(1, 99), st.booleans()))
def test_the_machine_reads_every_valid_plan_as_it_was_meant(plan: MaintenancePlan) -> None:
    assert check_maintenance(plan) == []
    assert vars(a_spec(**plan.data()).maintenance) == vars(plan)


@pytest.mark.parametrize("percent", [0, 100, -1, True, "50"])
@pytest.mark.parametrize("name", ["in_use_percent", "quota_percent"])
def test_a_share_that_is_none_is_refused(name: str, percent: object) -> None:
    (problem,) = check_maintenance(MaintenancePlan(**{name: percent}))  # type: ignore[arg-type]
    assert str(problem).startswith(f"maintenance.{name}: given {percent!r}. A share must be a whole number of percent")
