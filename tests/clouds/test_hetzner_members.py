"""Members come and go on an emulated Hetzner Cloud, whose machines filter for themselves who reaches them."""

from pathlib import Path

import pytest

from lab.clouds import CloudMachine
from tests.support.cloud_stacks import UP_SECONDS, ask, leader, members, open_ports, probing_from, unhealthy
from tests.support.clouds import cloud
from tests.support.hetzner_stacks import KEY, HetznerStacks, stacks
from tests.support.stacks import Stack

__all__ = ["cloud", "stacks"]


@pytest.fixture(scope="module")
def moving(stacks: HetznerStacks) -> Stack:
    stack = stacks.new("moving")
    stack.up(timeout=UP_SECONDS)
    return stack


@pytest.fixture(scope="module")
def client(moving: Stack, stacks: HetznerStacks) -> CloudMachine:
    """A machine in the range of the clients."""
    (machine,) = stacks.beside("moving", "10.1.2.9")
    return machine


def lead(machines: list[CloudMachine], machine: CloudMachine, name: str) -> None:
    """Moves leadership to a member, if it has not got it."""
    now = leader(machines)
    if now != machine:
        ask(now, "move-leader", f"{members(machine)[name]:x}")
    assert leader(machines) == machine


def test_another_name_in_the_place_of_the_leader_joins_before_that_one_leaves_and_clients_notice_nothing(
    moving: Stack, client: CloudMachine, stacks: HetznerStacks, tmp_path: Path
) -> None:
    machines = stacks.members("moving")
    lead(machines, machines[2], "etcd-3")
    moving.config[KEY]["slots"][2]["name"] = "etcd-4"
    with probing_from(client, moving, tmp_path / "probe", planned=True):
        moving.up(timeout=UP_SECONDS)
    assert set(members(stacks.machine("moving", "etcd-4"))) == {"etcd-1", "etcd-2", "etcd-4"}
    assert unhealthy(stacks.machine("moving", "etcd-4")) == []
    # Its address has another machine now.
    (stranger,) = stacks.beside("moving", "10.1.1.13")
    for address in ("10.1.1.11", "10.1.1.12", "10.1.1.14"):
        assert open_ports(stranger, address) == []


def test_two_of_three_leave_the_leader_among_them_and_clients_notice_nothing(
    moving: Stack, client: CloudMachine, stacks: HetznerStacks, tmp_path: Path
) -> None:
    first, second = stacks.machine("moving", "etcd-1"), stacks.machine("moving", "etcd-2")
    machines = [first, second, stacks.machine("moving", "etcd-4")]
    lead(machines, second, "etcd-2")
    del moving.config[KEY]["slots"][1:]
    with probing_from(client, moving, tmp_path / "probe", planned=True):
        moving.up(timeout=UP_SECONDS)
    assert set(members(first)) == {"etcd-1"}
    assert unhealthy(first) == []
    (stranger,) = stacks.beside("moving", "10.1.1.12")
    assert open_ports(stranger, "10.1.1.11") == []
    assert open_ports(client, "10.1.1.11") == [2379]
    assert moving.up("--expect-no-changes").code == 0
