"""The aws stand-in: each type of resource from creation to deletion, and the functions."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.support import plugin_client
from tests.support.aws_client import AwsClient, client, endpoint, plugin
from tests.support.plugin_client import refused

__all__ = ["endpoint", "plugin"]

TAGS = {"Name": "one", "cluster": "prod"}
ZONE = "eu-central-1a"
# moto needs seconds to list all its images.
FEW = [{"name": "architecture", "values": ["x86_64"]}, {"name": "name", "values": ["Deep*"]}]


@pytest.fixture
def ec2(endpoint: str) -> Any:
    return client(endpoint)


class Account:
    """Creates resources through the plugin."""

    def __init__(self, plugin: AwsClient) -> None:
        self._plugin = plugin

    def new(self, kind: str, **inputs: Any) -> str:
        """The id of a new resource."""
        return str(self._plugin.of(kind).create(inputs)[0])

    def vpc(self) -> str:
        return self.new("ec2/vpc:Vpc", cidrBlock="10.7.0.0/16")

    def subnet(self, vpc: str | None = None) -> str:
        vpc = vpc or self.vpc()
        return self.new("ec2/subnet:Subnet", vpcId=vpc, cidrBlock="10.7.1.0/24", availabilityZone=ZONE)

    def gateway(self, vpc: str) -> str:
        return self.new("ec2/internetGateway:InternetGateway", vpcId=vpc)

    def image(self) -> str:
        given = {"mostRecent": True, "owners": ["amazon"], "filters": FEW}
        return str(self._plugin.invoke("aws:ec2/getAmi:getAmi", **given)["id"])

    def card(self, vpc: str | None = None) -> str:
        return self.new("ec2/networkInterface:NetworkInterface", subnetId=self.subnet(vpc), privateIps=["10.7.1.11"])

    def machine(self) -> str:
        card = {"networkInterfaceId": self.card()}
        kind = "ec2/instance:Instance"
        return self.new(kind, ami=self.image(), instanceType="t3.micro", primaryNetworkInterface=card)


@pytest.fixture
def account(plugin: AwsClient) -> Account:
    return Account(plugin)


def lives(plugin: AwsClient, kind: str, inputs: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """As for every plugin; here, what is gone already can be deleted again."""
    state = plugin_client.lives(plugin.of(kind), inputs, **changed)
    plugin.of(kind).delete(state)
    return state


def test_a_vpc_a_subnet_and_an_internet_gateway(plugin: AwsClient, account: Account) -> None:
    inputs = {"cidrBlock": "10.7.0.0/16", "enableDnsHostnames": True, "tags": TAGS}
    state = lives(plugin, "ec2/vpc:Vpc", inputs, tags={"Name": "two"})
    assert (state["tagsAll"], state["enableDnsHostnames"]) == ({"Name": "two"}, True)
    subnet = {"vpcId": account.vpc(), "cidrBlock": "10.7.1.0/24", "availabilityZone": ZONE, "tags": TAGS}
    assert lives(plugin, "ec2/subnet:Subnet", subnet, tags={})["availabilityZone"] == ZONE
    lives(plugin, "ec2/internetGateway:InternetGateway", {"vpcId": account.vpc(), "tags": TAGS})


def test_a_route_table_its_routes_and_its_association(plugin: AwsClient, account: Account) -> None:
    vpc = account.vpc()
    lives(plugin, "ec2/routeTable:RouteTable", {"vpcId": vpc, "tags": TAGS}, tags={"Name": "other"})
    table = account.new("ec2/routeTable:RouteTable", vpcId=vpc)
    route = {"routeTableId": table, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": account.gateway(vpc)}
    state = lives(plugin, "ec2/route:Route", route)
    assert state["id"] == f"r-{table}1080289494", "the official plugin's id"
    association = {"routeTableId": table, "subnetId": account.subnet(vpc)}
    lives(plugin, "ec2/routeTableAssociation:RouteTableAssociation", association)


def test_a_group_begins_without_rules(plugin: AwsClient, account: Account, ec2: Any) -> None:
    inputs = {"vpcId": account.vpc(), "description": "members", "revokeRulesOnDelete": True, "tags": TAGS}
    group = plugin.of("ec2/securityGroup:SecurityGroup")
    identity, state = group.create({**inputs, "name": "members"})
    assert ec2.describe_security_groups(GroupIds=[identity])["SecurityGroups"][0]["IpPermissionsEgress"] == []
    group.delete(state)
    lives(plugin, "ec2/securityGroup:SecurityGroup", {**inputs, "name": "members"}, tags={})


@pytest.mark.parametrize("direction", ["Ingress", "Egress"])
@pytest.mark.parametrize("source", ["cidrIpv4", "cidrIpv6", "referencedSecurityGroupId"])
def test_a_rule(plugin: AwsClient, account: Account, direction: str, source: str) -> None:
    group = account.new("ec2/securityGroup:SecurityGroup", vpcId=account.vpc())
    value = {"cidrIpv4": "192.0.2.0/24", "cidrIpv6": "2001:db8::/32"}.get(source, group)
    inputs = {"securityGroupId": group, "ipProtocol": "tcp", "fromPort": 2379, "toPort": 2380, source: value}
    token = f"vpc/securityGroup{direction}Rule:SecurityGroup{direction}Rule"
    state = lives(plugin, token, {**inputs, "tags": TAGS}, tags={"Name": "two"})
    assert state["securityGroupRuleId"] == state["id"]


def test_a_rule_for_everything_has_no_ports(plugin: AwsClient, account: Account) -> None:
    group = account.new("ec2/securityGroup:SecurityGroup", vpcId=account.vpc())
    inputs = {"securityGroupId": group, "ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"}
    lives(plugin, "vpc/securityGroupEgressRule:SecurityGroupEgressRule", inputs)


def test_an_interface_and_its_public_address(plugin: AwsClient, account: Account) -> None:
    vpc = account.vpc()
    account.gateway(vpc)
    groups = [account.new("ec2/securityGroup:SecurityGroup", vpcId=vpc) for _ in range(2)]
    inputs = {"subnetId": account.subnet(vpc), "privateIps": ["10.7.1.12"], "securityGroups": groups, "tags": TAGS}
    state = lives(plugin, "ec2/networkInterface:NetworkInterface", inputs, tags={})
    assert (state["privateIp"], state["securityGroups"]) == ("10.7.1.12", groups)
    card = account.new("ec2/networkInterface:NetworkInterface", subnetId=inputs["subnetId"])
    state = lives(plugin, "ec2/eip:Eip", {"domain": "vpc", "tags": TAGS}, networkInterface=card)
    assert state["networkInterface"] == card
    assert state["publicIp"]
    with pytest.raises(grpc.RpcError) as error:
        one = plugin.of("ec2/networkInterface:NetworkInterface")
        one.update(one.create(inputs)[1], {**inputs, "privateIps": ["10.7.1.13"]})
    assert "privateIps: this stand-in cannot change it" in refused(error)


def test_a_nat_gateway(plugin: AwsClient, account: Account) -> None:
    vpc = account.vpc()
    account.gateway(vpc)
    inputs = {"subnetId": account.subnet(vpc), "allocationId": account.new("ec2/eip:Eip", domain="vpc"), "tags": TAGS}
    assert lives(plugin, "ec2/natGateway:NatGateway", inputs, tags={"Name": "two"})["publicIp"]


def test_an_instance_on_an_interface(plugin: AwsClient, account: Account, ec2: Any) -> None:
    disk = {"volumeType": "gp3", "volumeSize": 16, "deleteOnTermination": True, "encrypted": True, "tags": TAGS}
    inputs = {
        "ami": account.image(),
        "instanceType": "t3.micro",
        "primaryNetworkInterface": {"networkInterfaceId": account.card()},
        "userData": "#cloud-config\n",
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
        "rootBlockDevice": disk,
        "tags": TAGS,
    }
    changed = {"rootBlockDevice": {**disk, "tags": {"Name": "r"}}, "tags": {"Name": "two"}}
    state = lives(plugin, "ec2/instance:Instance", inputs, **changed)
    assert (state["privateIp"], state["instanceType"]) == ("10.7.1.11", "t3.micro")
    seen = ec2.describe_instances(InstanceIds=[state["id"]])["Reservations"][0]["Instances"][0]
    assert seen["State"]["Name"] == "terminated"


def test_a_volume_and_its_attachment(plugin: AwsClient, account: Account, ec2: Any) -> None:
    inputs = {"availabilityZone": ZONE, "size": 10, "type": "gp3", "encrypted": True, "tags": TAGS}
    state = lives(plugin, "ebs/volume:Volume", inputs, size=20, throughput=250)
    assert (state["size"], state["iops"]) == (20, 3000)
    machine, volume = account.machine(), account.new("ebs/volume:Volume", availabilityZone=ZONE, size=10)
    attached = {
        "deviceName": "/dev/sdf",
        "instanceId": machine,
        "volumeId": volume,
        "stopInstanceBeforeDetaching": True,
    }
    lives(plugin, "ec2/volumeAttachment:VolumeAttachment", attached)
    seen = ec2.describe_instances(InstanceIds=[machine])["Reservations"][0]["Instances"][0]
    assert seen["State"]["Name"] == "stopped"


def test_refresh_detects_external_changes(plugin: AwsClient, ec2: Any) -> None:
    vpc = plugin.of("ec2/vpc:Vpc")
    inputs = {"cidrBlock": "10.7.0.0/16", "tags": TAGS}
    identity, state = vpc.create(inputs)
    ec2.create_tags(Resources=[identity], Tags=[{"Key": "Name", "Value": "hand"}])
    _, seen, kept = vpc.read(identity, state, inputs)
    assert (seen["tags"]["Name"], kept["tags"]["Name"]) == ("hand", "hand")
    assert list(vpc.diff(seen, kept, inputs)) == ["tags.Name"]


def test_an_api_refusal_is_reported_with_its_code(plugin: AwsClient) -> None:
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("ec2/subnet:Subnet").create({"vpcId": "vpc-0123456789abcdef0", "cidrBlock": "10.7.0.0/24"})
    assert "EC2: create_subnet: api error InvalidVpcID.NotFound" in refused(error)


def test_an_instance_types_memory_is_available(plugin: AwsClient) -> None:
    about = plugin.invoke("aws:ec2/getInstanceType:getInstanceType", instanceType="t3.small")
    assert (about["instanceType"], about["memorySize"]) == ("t3.small", 2048)


@pytest.mark.parametrize(
    ("function", "given", "text"),
    [
        ("aws:ec2/getAmi:getAmi", {"owners": ["amazon"], "filters": FEW}, "more than one result"),
        ("aws:ec2/getAmi:getAmi", {"filters": [{"name": "name", "values": ["x"]}]}, "returned no results"),
        ("aws:ec2/getAmi:getAmi", {"nameRegex": "x"}, "does not serve it"),
        ("aws:ec2/getInstanceType:getInstanceType", {"instanceType": "t3.none"}, "api error InvalidInstanceType"),
        ("aws:ec2/getVpc:getVpc", {}, "is not a function of the aws stand-in"),
    ],
)
def test_a_function_that_finds_nothing_fails(
    plugin: AwsClient, function: str, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        plugin.invoke(function, **given)
    assert text in refused(error)
