"""The way to machines that filter ssh themselves: an edit that would find it closed is refused, with the order."""

from dataclasses import replace

import pytest

from components.plan.hetzner import HetznerBastion, HetznerPlan, HetznerSlot
from components.plan.hetzner_ssh import WayIn, check_way_in, read_way_in, way_in
from components.plan.ranges import parse_range

OFFICE, HOME, JUMP = "203.0.113.7/32", "203.0.113.9/32", "10.1.9.9/32"
SLOTS = [HetznerSlot(name=f"etcd-{n}", location="fsn1", server_type="cx23") for n in (1, 2, 3)]
PLAN = HetznerPlan(cluster="main", slots=SLOTS, operators=(OFFICE,))
HOST = "jump.example"


def plan(*operators: str, bastion: str | None = None, another: bool = False) -> HetznerPlan:
    """`bastion` is the private address of one that is made, empty for the default."""
    made = None if bastion is None else HetznerBastion("fsn1", "cx23", address=bastion or None)
    return replace(PLAN, operators=operators, bastion=made, through_another_bastion=another)


DIRECT, BEHIND = plan(OFFICE), plan(OFFICE, bastion="")


def refused(before: HetznerPlan, after: HetznerPlan, *, hosts: tuple[str, str] = (HOST, HOST)) -> list[tuple[str, str]]:
    """Key and value of what is wrong with the step from one to the other, which passes through the stack's outputs."""
    left = read_way_in(_way(before, hosts[0]).data())
    problems = check_way_in(left, after, _way(after, hosts[1]), "bastion", "operators")
    return [(problem.key, problem.value) for problem in problems]


def _way(wanted: HetznerPlan, host: str) -> WayIn:
    return way_in(wanted, host if wanted.through_another_bastion else "")


def test_a_bastion_at_the_default_address_comes_and_goes_without_an_order() -> None:
    assert refused(DIRECT, BEHIND) == []
    assert refused(BEHIND, BEHIND) == []
    assert refused(BEHIND, DIRECT) == []


def test_operators_may_change_while_the_way_stays() -> None:
    assert refused(DIRECT, plan(HOME)) == []
    assert refused(BEHIND, plan(HOME, bastion="")) == []
    assert refused(plan(JUMP, another=True), plan("10.1.9.8/32", another=True)) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (DIRECT, plan(OFFICE, bastion="10.1.1.9"), ("bastion.address", "10.1.1.9")),
        (BEHIND, plan(OFFICE, bastion="10.1.1.9"), ("bastion.address", "10.1.1.9")),
        (BEHIND, plan(HOME), ("operators", HOME)),
        (DIRECT, plan(JUMP, another=True), ("operators", JUMP)),
        (plan(JUMP, another=True), plan(OFFICE), ("operators", OFFICE)),
        (plan(JUMP, another=True), plan(OFFICE, bastion=""), ("bastion.address", "10.1.1.5")),
    ],
)
def test_a_way_that_is_closed_is_refused_and_open_when_its_address_was_an_operators_first(
    before: HetznerPlan, after: HetznerPlan, said: tuple[str, str]
) -> None:
    assert refused(before, after) == [said]
    known = replace(before, operators=(*before.operators, said[1]))
    assert refused(before, known) == []
    assert refused(known, after) == []


def test_another_bastion_that_exists_has_to_be_an_operator_already() -> None:
    one, both = plan(JUMP, another=True), plan(JUMP, "10.1.9.8/32", another=True)
    assert refused(one, both, hosts=("one", "two")) == [("operators", "10.1.9.8/32")]
    assert refused(both, plan("10.1.9.8/32", another=True), hosts=("one", "two")) == []


@pytest.mark.parametrize("wanted", [DIRECT, BEHIND])
def test_machines_admit_the_bastion_and_the_operators_and_no_member(wanted: HetznerPlan) -> None:
    assert _admits(way_in(wanted), "10.1.1.5")
    assert _admits(way_in(wanted), OFFICE.partition("/")[0])
    assert not _admits(way_in(wanted), "10.1.1.4")
    # A member may have that address where no bastion is made.
    taken = [HetznerSlot(name="etcd-5", location="fsn1", server_type="cx23", address="10.1.1.5")]
    assert not _admits(way_in(replace(DIRECT, slots=taken)), "10.1.1.5")


def _admits(way: WayIn, address: str) -> bool:
    one = parse_range(address)
    assert one is not None
    return any(one.subnet_of(range_) for text in way.admitted if (range_ := parse_range(text)) and range_.version == 4)  # type: ignore[arg-type]
