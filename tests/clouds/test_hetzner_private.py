"""Machines without public addresses on an emulated Hetzner Cloud: through a bastion that is made, or exists."""

from typing import Any

import pytest

from tests.support.cloud_stacks import UP_SECONDS, counts, members, unhealthy
from tests.support.clouds import cloud, reaches
from tests.support.hetzner_stacks import KEY, HetznerStacks, raise_generation, stacks
from tests.support.stacks import Stack

__all__ = ["cloud", "stacks"]


@pytest.fixture(scope="module")
def inside(stacks: HetznerStacks) -> Stack:
    """A cluster with its network and its bastion."""
    stack = stacks.new("inside", publicIpv4=False, bastion={})
    stack.up(timeout=UP_SECONDS)
    return stack


@pytest.fixture(scope="module")
def other(inside: Stack, stacks: HetznerStacks, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A second cluster, of five, that uses what the first one has made."""
    outputs = inside.outputs()
    key = tmp_path_factory.mktemp("key") / "bastion"
    key.touch(mode=0o600)
    key.write_text(outputs["ssh_private_key"])
    bastion = outputs["bastion"]
    way: dict[str, Any] = {
        "host": bastion["host"],
        "hostKey": bastion["host_key"],
        "user": bastion["user"],
        "privateKeyFile": str(key),
    }
    stack = stacks.new(
        "other",
        slots=5,
        keys={"ssh": {"bastion": way}},
        publicIpv4=False,
        networkId=outputs["network_id"],
        subnetRange="10.1.3.0/24",
        operators=["10.1.1.5/32"],
    )
    stack.up(timeout=UP_SECONDS)
    return stack


def test_machines_are_made_through_a_bastion_and_a_second_update_changes_nothing(
    inside: Stack, stacks: HetznerStacks
) -> None:
    assert counts(inside, "hcloud")["NetworkRoute"] == 1
    assert unhealthy(stacks.machine("inside", "etcd-1")) == []
    assert all(machine.address is None for machine in stacks.members("inside"))
    assert inside.up("--expect-no-changes").code == 0
    assert inside.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").code == 0


def test_the_bastion_reaches_ssh_alone_and_a_member_everything_but_ssh(inside: Stack, stacks: HetznerStacks) -> None:
    ports = (22, 2379, 2380)
    bastion, member = stacks.machine("inside", "bastion"), stacks.machine("inside", "etcd-1")
    assert [port for port in ports if reaches(bastion, "10.1.1.12", port)] == [22]
    assert [port for port in ports if reaches(member, "10.1.1.12", port)] == [2379, 2380]
    assert bastion.address
    stranger = stacks.cloud.stranger()
    assert [port for port in ports if reaches(stranger, bastion.address, port)] == []


def test_five_members_in_a_network_that_exists_through_a_bastion_that_exists_beside_another_cluster(
    inside: Stack, other: Stack, stacks: HetznerStacks
) -> None:
    assert counts(other, "hcloud") == {"NetworkSubnet": 1, "Firewall": 1, "PlacementGroup": 1, "SshKey": 1, "Server": 5}
    ours, theirs = stacks.machine("other", "etcd-1"), stacks.machine("inside", "etcd-1")
    assert set(members(ours)) == {f"etcd-{n}" for n in range(1, 6)}
    assert unhealthy(ours) == []
    assert unhealthy(theirs) == []
    assert len(members(theirs)) == 3
    assert not reaches(theirs, "10.1.3.11", 2379), "the members of one cluster are strangers to the other"
    assert other.up("--expect-no-changes").code == 0


def test_a_machine_that_is_gone_already_is_replaced_while_the_others_carry_the_cluster(
    other: Stack, stacks: HetznerStacks
) -> None:
    before = members(stacks.machine("other", "etcd-1"))
    stacks.terminate("other", "etcd-4")
    # Without a refresh: Pulumi still believes in it.
    raise_generation(other, "etcd-4")
    other.up(timeout=UP_SECONDS)
    now = members(stacks.machine("other", "etcd-1"))
    assert {name for name in before if before[name] != now[name]} == {"etcd-4"}
    assert set(now) == set(before)
    assert unhealthy(stacks.machine("other", "etcd-4")) == []


def test_two_slots_that_leave_take_their_machines_along(other: Stack, stacks: HetznerStacks) -> None:
    # The first two, who vouch for each other's machines: when a slot goes, nobody is asked.
    del other.config[KEY]["slots"][:2]
    other.up(timeout=UP_SECONDS)
    assert set(members(stacks.machine("other", "etcd-5"))) == {"etcd-3", "etcd-4", "etcd-5"}
    assert unhealthy(stacks.machine("other", "etcd-5")) == []
    assert counts(other, "hcloud")["Server"] == 3
    assert len([name for name in stacks.cloud.resources()["servers"] if name.startswith("other-")]) == 3


def test_each_cluster_is_destroyed_by_itself(inside: Stack, other: Stack, stacks: HetznerStacks) -> None:
    other.destroy()
    assert not any(" other" in thing for thing in stacks.left())
    assert unhealthy(stacks.machine("inside", "etcd-1")) == []
    inside.destroy()
    assert stacks.left() == []
