"""Two clusters at once in one emulated account: five private members through a bastion, three in a VPC that exists."""

import ipaddress
import threading
from collections import Counter
from typing import Any

import pytest

from tests.support.aws_clouds import aws
from tests.support.aws_stacks import AwsStacks, stacks
from tests.support.cloud_stacks import UP_SECONDS, open_ports, unhealthy
from tests.support.stacks import Stack

__all__ = ["aws", "stacks"]

ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")


def existing(stacks: AwsStacks) -> dict[str, Any]:
    """A VPC with two subnets and a way to the internet that somebody else made, as the configuration names it."""
    ec2 = stacks.cloud.client()
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    subnets = []
    for number, zone in enumerate(ZONES[:2]):
        range_ = f"10.7.{number}.0/26"
        row = ec2.create_subnet(VpcId=vpc, CidrBlock=range_, AvailabilityZone=zone)["Subnet"]
        subnets.append({"zone": zone, "range": range_, "id": row["SubnetId"]})
    return {"zones": None, "vpcId": vpc, "subnets": subnets}


@pytest.fixture(scope="module")
def joined(stacks: AwsStacks) -> Stack:
    """Three members in a VPC that exists."""
    return stacks.new("joined", **existing(stacks))


@pytest.fixture(scope="module")
def private(stacks: AwsStacks, joined: Stack) -> Stack:
    """Five members in subnets without a way in; made at the same time as the other cluster."""
    private = stacks.new("private", 5, publicIpv4=False, natGateway=True, bastion={"instanceType": "t3.nano"})
    failed: list[BaseException] = []

    def up(stack: Stack) -> None:
        try:
            stack.up(timeout=UP_SECONDS)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=up, args=[stack]) for stack in (private, joined)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        raise error
    return private


def test_five_members_over_three_zones_are_made_through_a_bastion_and_have_no_public_address(
    private: Stack, stacks: AwsStacks
) -> None:
    machines = [stacks.machine("private", f"etcd-{n}") for n in range(1, 6)]
    assert unhealthy(machines[0]) == []
    assert [machine.address for machine in machines] == [None] * 5
    subnets = {zone: ipaddress.ip_network(row["range"]) for zone, row in private.outputs()["subnets"].items()}
    zones = Counter(
        zone
        for machine in machines
        for zone, range_ in subnets.items()
        if ipaddress.ip_address(machine.private_addresses[0]) in range_
    )
    assert zones == {ZONES[0]: 2, ZONES[1]: 2, ZONES[2]: 1}
    assert private.up("--expect-no-changes").code == 0


def test_the_bastion_alone_reaches_their_ssh_and_nothing_of_etcd(private: Stack, stacks: AwsStacks) -> None:
    bastion, member = stacks.machine("private", "bastion"), stacks.machine("private", "etcd-1")
    assert open_ports(bastion, "10.2.2.12") == [22]
    assert open_ports(member, "10.2.2.12") == [2379, 2380]
    assert bastion.answers(10), "the operator comes from this computer"
    assert bastion.address
    assert open_ports(stacks.cloud.stranger(), bastion.address) == []


def test_a_cluster_in_a_vpc_that_exists_uses_its_subnets_and_lives_beside_the_other_one(
    private: Stack, joined: Stack, stacks: AwsStacks
) -> None:
    outputs = joined.outputs()
    assert [row["address"] for row in outputs["members"]] == ["10.7.0.11", "10.7.1.12", "10.7.0.13"]
    assert unhealthy(stacks.machine("joined", "etcd-1")) == []
    assert unhealthy(stacks.machine("private", "etcd-1")) == []
    assert joined.up("--expect-no-changes").code == 0


def test_destroying_both_leaves_what_was_there_before_and_nothing_else(
    private: Stack, joined: Stack, stacks: AwsStacks
) -> None:
    joined.destroy()
    assert unhealthy(stacks.machine("private", "etcd-1")) == []
    private.destroy()
    left = Counter(row.partition(" ")[0] for row in stacks.left())
    assert left == {"vpcs": 1, "subnets": 2, "internet_gateways": 1}
