"""Machines that filter ssh themselves: an edit that would lose access is refused, with the order of steps."""

from dataclasses import replace

import pytest

from components.plan.hetzner import HetznerBastion, HetznerPlan, HetznerSlot
from components.plan.hetzner_ssh import SshAccess, check_ssh_access, read_ssh_access, ssh_access
from components.plan.ranges import parse_range

OFFICE, HOME, JUMP = "203.0.113.7/32", "203.0.113.9/32", "10.1.9.9/32"
SLOTS = [HetznerSlot(name=f"etcd-{n}", location="fsn1", server_type="cx23") for n in (1, 2, 3)]
PLAN = HetznerPlan(cluster="main", slots=SLOTS, operators=(OFFICE,))
HOST = "jump.example"


def plan(*operators: str, bastion: str | None = None, another: bool = False) -> HetznerPlan:
    """`bastion` is the private address of a created one, empty for the default."""
    made = None if bastion is None else HetznerBastion("fsn1", "cx23", address=bastion or None)
    return replace(PLAN, operators=operators, bastion=made, through_another_bastion=another)


DIRECT, BEHIND = plan(OFFICE), plan(OFFICE, bastion="")


def refused(before: HetznerPlan, after: HetznerPlan, *, hosts: tuple[str, str] = (HOST, HOST)) -> list[tuple[str, str]]:
    """Key and value of the errors of this change, with the stack's outputs in between."""
    left = read_ssh_access(_way(before, hosts[0]).data())
    problems = check_ssh_access(left, after, _way(after, hosts[1]), "bastion", "operators")
    return [(problem.key, problem.value) for problem in problems]


def _way(wanted: HetznerPlan, host: str) -> SshAccess:
    return ssh_access(wanted, host if wanted.through_another_bastion else "")


def test_a_bastion_at_the_default_address_needs_no_preparation() -> None:
    assert refused(DIRECT, BEHIND) == []
    assert refused(BEHIND, BEHIND) == []
    assert refused(BEHIND, DIRECT) == []


def test_operators_can_change_if_the_access_path_stays() -> None:
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
def test_a_new_access_path_must_first_be_an_operators_address(
    before: HetznerPlan, after: HetznerPlan, said: tuple[str, str]
) -> None:
    assert refused(before, after) == [said]
    known = replace(before, operators=(*before.operators, said[1]))
    assert refused(before, known) == []
    assert refused(known, after) == []


def test_another_existing_bastion_must_already_be_an_operator() -> None:
    one, both = plan(JUMP, another=True), plan(JUMP, "10.1.9.8/32", another=True)
    assert refused(one, both, hosts=("one", "two")) == [("operators", "10.1.9.8/32")]
    assert refused(both, plan("10.1.9.8/32", another=True), hosts=("one", "two")) == []


@pytest.mark.parametrize("wanted", [DIRECT, BEHIND])
def test_machines_admit_the_bastion_and_the_operators_and_no_member(wanted: HetznerPlan) -> None:
    assert _admits(ssh_access(wanted), "10.1.1.5")
    assert _admits(ssh_access(wanted), OFFICE.partition("/")[0])
    assert not _admits(ssh_access(wanted), "10.1.1.4")
    # A member may have that address if no bastion is created.
    taken = [HetznerSlot(name="etcd-5", location="fsn1", server_type="cx23", address="10.1.1.5")]
    assert not _admits(ssh_access(replace(DIRECT, slots=taken)), "10.1.1.5")


def _admits(way: SshAccess, address: str) -> bool:
    one = parse_range(address)
    assert one is not None
    return any(one.subnet_of(range_) for text in way.admitted if (range_ := parse_range(text)) and range_.version == 4)  # type: ignore[arg-type]
