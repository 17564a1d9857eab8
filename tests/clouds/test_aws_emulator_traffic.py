"""Security groups, routes and gateways of the emulated AWS: what they say is what really happens."""

from typing import Any

import pytest

from lab.clouds import AwsCloud
from tests.support.aws_clouds import ANYWHERE, Site, aws, ec2, ready, site, wait_for
from tests.support.clouds import listen, reaches

__all__ = ["aws", "ec2"]


@pytest.fixture
def here(ec2: Any) -> Site:
    return site(ec2, public=False)


def test_groups_decide_who_reaches_whom_inside_a_vpc_and_from_outside(aws: AwsCloud, here: Site) -> None:
    ec2 = here.ec2
    clients = here.new_group("clients")
    here.open(here.group, 2379, UserIdGroupPairs=[{"GroupId": clients}])
    peers = here.open(here.group, 2380, UserIdGroupPairs=[{"GroupId": here.group}])
    cards = [here.card("10.7.0.11"), here.card("10.7.1.11", subnet=1), here.card("10.7.0.50", groups=[clients])]
    public = [here.address(card) for card in cards]
    instances = [here.with_card(card, wait=False) for card in cards]
    for instance in instances:
        wait_for(ec2, instance, "running")
    one, two, client = ready(aws, *instances)
    for member in (one, two):
        listen(member, 2379, 2380)
    outside = aws.stranger()

    assert reaches(two, "10.7.0.11", 2380), "members reach each other, from another subnet as well"
    assert not reaches(two, "10.7.0.11", 2379)
    assert reaches(client, "10.7.1.11", 2379)
    assert not reaches(client, "10.7.1.11", 2380)
    assert [reaches(outside, public[0], port) for port in (22, 2379, 2380)] == [True, False, False]
    assert not reaches(client, public[0], 2379), "by a public address nobody is in a group"
    assert reaches(client, public[0], 22)

    ec2.revoke_security_group_ingress(GroupId=here.group, SecurityGroupRuleIds=[peers])
    assert not reaches(two, "10.7.0.11", 2380)
    ec2.modify_network_interface_attribute(NetworkInterfaceId=cards[2], Groups=[here.group])
    assert not reaches(client, "10.7.1.11", 2379), "who leaves the group reaches it no more"

    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [here.group]}])
    out = [rule["SecurityGroupRuleId"] for rule in rules["SecurityGroupRules"] if rule["IsEgress"]]
    assert reaches(one, "10.7.1.11", 22)
    ec2.revoke_security_group_egress(GroupId=here.group, SecurityGroupRuleIds=out)
    assert not reaches(one, "10.7.1.11", 22), "without a rule nothing gets out"
    assert reaches(outside, public[0], 22), "answers do"
    here.open(here.group, 22, direction="egress", IpRanges=[{"CidrIp": "10.7.1.0/24"}])
    assert reaches(one, "10.7.1.11", 22)
    assert not reaches(one, "releases.lab", 80)

    ec2.delete_route(RouteTableId=here.table, DestinationCidrBlock="0.0.0.0/0")
    assert not reaches(outside, public[0], 22), "without the route there is no way in or out"


def test_a_nat_gateway_is_the_way_out_of_a_private_subnet_and_no_way_in(aws: AwsCloud, here: Site) -> None:
    ec2 = here.ec2
    table = ec2.create_route_table(VpcId=here.vpc)["RouteTable"]["RouteTableId"]
    filters = [{"Name": "association.subnet-id", "Values": [here.subnets[1]]}]
    before = ec2.describe_route_tables(Filters=filters)["RouteTables"][0]["Associations"]
    ec2.disassociate_route_table(
        AssociationId=next(row["RouteTableAssociationId"] for row in before if row.get("SubnetId") == here.subnets[1])
    )
    ec2.associate_route_table(RouteTableId=table, SubnetId=here.subnets[1])
    instance = here.launch(SubnetId=here.subnets[1], PrivateIpAddress="10.7.1.30")
    machine = ready(aws, instance)[0]
    assert machine.address is None
    assert not reaches(machine, "releases.lab", 80)

    allocation = ec2.allocate_address(Domain="vpc")
    nat = ec2.create_nat_gateway(SubnetId=here.subnets[0], AllocationId=allocation["AllocationId"])
    nat_id = nat["NatGateway"]["NatGatewayId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat_id)
    assert reaches(machine, "releases.lab", 80)
    outside = aws.stranger()
    assert not reaches(outside, allocation["PublicIp"], 22)

    ec2.delete_nat_gateway(NatGatewayId=nat_id)
    assert not reaches(machine, "releases.lab", 80)
    ec2.release_address(AllocationId=allocation["AllocationId"])


def test_two_vpcs_of_one_range_do_not_see_each_other(aws: AwsCloud, here: Site) -> None:
    ec2 = here.ec2
    other = site(ec2, public=False)
    first, second = (one.launch(wait=False, PrivateIpAddress="10.7.0.20") for one in (here, other))
    third = other.launch(wait=False, PrivateIpAddress="10.7.0.21")
    for instance in (first, second, third):
        wait_for(ec2, instance, "running")
    here_machine, there, beside = ready(aws, first, second, third)
    assert reaches(there, "10.7.0.21", 22)
    assert reaches(beside, "10.7.0.20", 22)
    assert not reaches(here_machine, "10.7.0.21", 22)
    listen(here_machine, 8080)
    other.open(other.group, 8080, IpRanges=ANYWHERE)
    assert not reaches(beside, "10.7.0.20", 8080)
