"""The example of the platform aws on an emulated cloud whose instances boot: from first preview to nothing left."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.clouds import CloudMachine
from tests.support.aws_clouds import aws
from tests.support.aws_stacks import KEY, SLOTS, AwsStacks, stacks
from tests.support.cloud_stacks import (
    UP_SECONDS,
    certificates,
    counts,
    leader,
    members,
    open_ports,
    probing_from,
    unhealthy,
)
from tests.support.clouds import reaches
from tests.support.stacks import Stack

__all__ = ["aws", "stacks"]

PORTS = (22, 2379, 2380, 2381)


@pytest.fixture(scope="module")
def example(stacks: AwsStacks) -> Stack:
    stack = stacks.new("plain")
    stack.preview()
    assert stacks.left() == []
    stack.up(timeout=UP_SECONDS)
    return stack


@pytest.fixture(scope="module")
def inside(example: Stack, stacks: AwsStacks) -> Iterator[list[CloudMachine]]:
    """A machine that carries the clients' group, and one in a member's subnet that carries none of ours."""
    group = example.outputs()["clients_security_group"]
    yield [
        stacks.beside("client", example, "eu-central-1b", group),
        stacks.beside("stranger-inside", example, "eu-central-1b"),
    ]
    stacks.remove_beside()


def test_the_example_makes_three_healthy_members_in_three_zones(example: Stack, stacks: AwsStacks) -> None:
    assert counts(example, "aws") == {
        "Vpc": 1,
        "InternetGateway": 1,
        "RouteTable": 1,
        "Route": 1,
        "Subnet": 3,
        "RouteTableAssociation": 3,
        "SecurityGroup": 2,
        "SecurityGroupIngressRule": 4,
        "SecurityGroupEgressRule": 2,
        "NetworkInterface": 3,
        "Eip": 3,
        "Instance": 3,
    }
    assert unhealthy(stacks.machine("plain", "etcd-1")) == []
    outputs = example.outputs()
    assert [member["address"] for member in outputs["members"]] == ["10.2.1.11", "10.2.2.12", "10.2.3.13"]
    assert set(outputs["server_ids"]) == set(SLOTS)
    rows = stacks.cloud.client().describe_instances(InstanceIds=list(outputs["server_ids"].values()))["Reservations"]
    zones = [row["Instances"][0]["Placement"]["AvailabilityZone"] for row in rows]
    assert sorted(zones) == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]


def test_a_second_update_changes_nothing_and_a_refresh_finds_no_drift(example: Stack) -> None:
    assert example.up("--expect-no-changes").code == 0
    assert example.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").code == 0


def test_one_range_more_for_clients_is_one_rule_more_and_touches_no_machine(example: Stack) -> None:
    example.config[KEY]["clients"] = ["10.2.64.0/20"]
    try:
        text = example.preview().text
    finally:
        del example.config[KEY]["clients"]
    assert "+ 1 to create" in text
    assert not [word for word in ("to update", "to replace", "to delete") if word in text], text


def test_every_port_is_open_to_those_alone_who_have_business_there(
    example: Stack,
    inside: list[CloudMachine],
    stacks: AwsStacks,
) -> None:
    client, stranger_inside = inside
    stranger = stacks.cloud.stranger()
    first, second, _ = stacks.members("plain")
    assert second.address
    assert [port for port in PORTS if reaches(stranger, second.address, port)] == []
    assert second.answers(10), "the operator comes from this computer"
    assert open_ports(stranger_inside, "10.2.2.12") == []
    assert open_ports(client, "10.2.2.12") == [2379]
    assert open_ports(first, "10.2.2.12") == [2379, 2380]
    assert open_ports(second, client.private_addresses[0]) == []


def test_a_machine_with_a_local_disk_that_was_terminated_comes_back_as_a_new_member_of_its_slot(
    example: Stack,
    inside: list[CloudMachine],
    stacks: AwsStacks,
    tmp_path: Path,
) -> None:
    machines = stacks.members("plain")
    lost = leader(machines)
    slot = lost.name.removeprefix("plain-")
    others = [machine for machine in machines if machine != lost]
    had, ids = certificates(lost), members(others[0])
    with probing_from(inside[0], example, tmp_path, planned=False):
        stacks.terminate(example, slot)
        example.pulumi("refresh", "--yes", "--skip-preview")
        example.up(timeout=UP_SECONDS)
    back = stacks.machine("plain", slot)
    assert (back.address, back.private_addresses) == (lost.address, lost.private_addresses)
    assert certificates(back) == had
    now = members(back)
    assert {name for name in ids if ids[name] != now[name]} == {slot}
    assert set(now) == set(ids)
    assert unhealthy(back) == []


def test_destroy_leaves_no_resource_and_no_machine(example: Stack, stacks: AwsStacks) -> None:
    stacks.remove_beside()
    example.destroy()
    assert stacks.left() == []
    assert example.export()["deployment"].get("resources", []) == []
