"""The stand-in for the plugin aws: each type of resource from its creation to its end, and the functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2

from lab.plugins.wire import from_struct, to_struct
from tests.support.aws_client import AwsClient, aws, client, moto
from tests.support.plugin_client import refused

TAGS = {"Name": "one", "cluster": "prod"}
ZONE = "eu-central-1a"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto() as address:
        yield address


@pytest.fixture
def plugin(endpoint: str) -> Iterator[AwsClient]:
    with aws(endpoint) as found:
        yield found


@pytest.fixture
def ec2(endpoint: str) -> Any:
    return client(endpoint)


class Account:
    """Makes resources through the plugin."""

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
        given = {"mostRecent": True, "owners": ["amazon"], "filters": [{"name": "architecture", "values": ["x86_64"]}]}
        return str(call(self._plugin, "aws:ec2/getAmi:getAmi", **given)["id"])

    def machine(self) -> str:
        return self.new("ec2/instance:Instance", ami=self.image(), instanceType="t3.micro", subnetId=self.subnet())


@pytest.fixture
def account(plugin: AwsClient) -> Account:
    return Account(plugin)


def call(plugin: AwsClient, function: str, **given: Any) -> dict[str, Any]:
    request = provider_pb2.InvokeRequest(tok=function, args=to_struct(given))
    answer = plugin._stub.Invoke(request, timeout=60)
    return from_struct(getattr(answer, "return"))


def lives(plugin: AwsClient, kind: str, inputs: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """Make, look, change in place, look, import, remove; the state after the change."""
    one = plugin.of(kind)
    identity, state = one.create(inputs)
    assert state["id"] == identity
    found = one.read(identity, state, inputs)
    assert found[0] == identity
    assert one.diff(found[1], found[2], inputs) == {}, "what was just made is as it should be"
    if changed:
        new = {**inputs, **changed}
        changes = one.diff(state, inputs, new)
        assert changes
        assert not any(change & 1 for change in changes.values()), changes
        state = one.update(state, new)
        found = one.read(identity, state, new)
        assert one.diff(found[1], found[2], new) == {}
        inputs = new
    assert one.read(identity)[1]["id"] == identity, "it is imported by its id"
    one.delete(state)
    assert one.read(identity, state, inputs)[0] == ""
    one.delete(state)
    return state


def test_a_vpc(plugin: AwsClient) -> None:
    inputs = {"cidrBlock": "10.7.0.0/16", "enableDnsHostnames": False, "tags": TAGS}
    state = lives(plugin, "ec2/vpc:Vpc", inputs, enableDnsHostnames=True, tags={"Name": "two"})
    assert state["arn"] == f"arn:aws:ec2:eu-central-1:123456789012:vpc/{state['id']}"
    assert state["tagsAll"] == {"Name": "two"}
    assert state["defaultSecurityGroupId"].startswith("sg-")


def test_a_subnet(plugin: AwsClient, account: Account) -> None:
    inputs = {"vpcId": account.vpc(), "cidrBlock": "10.7.1.0/24", "availabilityZone": ZONE, "tags": TAGS}
    state = lives(plugin, "ec2/subnet:Subnet", inputs, mapPublicIpOnLaunch=True, tags={})
    assert (state["availabilityZone"], state["mapPublicIpOnLaunch"]) == (ZONE, True)


def test_an_internet_gateway_moves_from_one_vpc_to_another(plugin: AwsClient, account: Account) -> None:
    inputs = {"vpcId": account.vpc(), "tags": TAGS}
    lives(plugin, "ec2/internetGateway:InternetGateway", inputs, vpcId=account.vpc())


def test_a_route_table_its_routes_and_its_association(plugin: AwsClient, account: Account) -> None:
    vpc = account.vpc()
    lives(plugin, "ec2/routeTable:RouteTable", {"vpcId": vpc, "tags": TAGS}, tags={"Name": "other"})
    table = account.new("ec2/routeTable:RouteTable", vpcId=vpc)
    route = {"routeTableId": table, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": account.gateway(vpc)}
    state = lives(plugin, "ec2/route:Route", route)
    assert state["id"] == f"r-{table}1080289494", "as the official plugin calls it"
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
    changed = {"toPort": 2381} if source != "referencedSecurityGroupId" else {"tags": {"Name": "two"}}
    token = f"vpc/securityGroup{direction}Rule:SecurityGroup{direction}Rule"
    state = lives(plugin, token, {**inputs, "tags": TAGS}, **changed)
    assert state["securityGroupRuleId"] == state["id"]


def test_a_rule_for_everything_has_no_ports(plugin: AwsClient, account: Account) -> None:
    group = account.new("ec2/securityGroup:SecurityGroup", vpcId=account.vpc())
    inputs = {"securityGroupId": group, "ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"}
    lives(plugin, "vpc/securityGroupEgressRule:SecurityGroupEgressRule", inputs)


def test_an_interface(plugin: AwsClient, account: Account) -> None:
    vpc = account.vpc()
    first, second = (account.new("ec2/securityGroup:SecurityGroup", vpcId=vpc, name=name) for name in ("a", "b"))
    inputs = {"subnetId": account.subnet(vpc), "privateIps": ["10.7.1.11"], "securityGroups": [first], "tags": TAGS}
    state = lives(
        plugin, "ec2/networkInterface:NetworkInterface", inputs, securityGroups=[first, second], description="two"
    )
    assert (state["privateIp"], sorted(state["securityGroups"])) == ("10.7.1.11", sorted([first, second]))


def test_a_public_address_and_its_association(plugin: AwsClient, account: Account) -> None:
    vpc = account.vpc()
    account.gateway(vpc)
    card = account.new("ec2/networkInterface:NetworkInterface", subnetId=account.subnet(vpc))
    state = lives(plugin, "ec2/eip:Eip", {"domain": "vpc", "tags": TAGS}, networkInterface=card)
    assert state["networkInterface"] == card
    assert state["publicIp"]
    inputs = {"allocationId": account.new("ec2/eip:Eip", domain="vpc"), "networkInterfaceId": card}
    lives(plugin, "ec2/eipAssociation:EipAssociation", inputs)


def test_a_nat_gateway(plugin: AwsClient, account: Account) -> None:
    vpc = account.vpc()
    account.gateway(vpc)
    inputs = {"subnetId": account.subnet(vpc), "allocationId": account.new("ec2/eip:Eip", domain="vpc"), "tags": TAGS}
    state = lives(plugin, "ec2/natGateway:NatGateway", inputs, tags={"Name": "two"})
    assert state["publicIp"]


def test_a_key_pair(plugin: AwsClient) -> None:
    text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7vYbrmQ1nq0S9RzJc8mZt1o5yC2oB0sVYkq8nKqQxA a"
    state = lives(plugin, "ec2/keyPair:KeyPair", {"keyName": "mine", "publicKey": text, "tags": TAGS}, tags={})
    assert state["id"] == "mine"


def test_an_instance_on_an_interface(plugin: AwsClient, account: Account, ec2: Any) -> None:
    card = account.new("ec2/networkInterface:NetworkInterface", subnetId=account.subnet(), privateIps=["10.7.1.11"])
    inputs = {
        "ami": account.image(),
        "instanceType": "t3.micro",
        "primaryNetworkInterface": {"networkInterfaceId": card},
        "userData": "#cloud-config\n",
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
        "rootBlockDevice": {"volumeType": "gp3", "volumeSize": 16, "deleteOnTermination": True, "tags": TAGS},
        "tags": TAGS,
    }
    state = lives(
        plugin,
        "ec2/instance:Instance",
        inputs,
        instanceType="t3.small",
        metadataOptions={"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 2},
        rootBlockDevice={"volumeType": "gp3", "volumeSize": 20, "deleteOnTermination": True, "tags": {"Name": "r"}},
        disableApiStop=False,
        tags={"Name": "two"},
    )
    assert (state["privateIp"], state["primaryNetworkInterfaceId"], state["instanceType"]) == (
        "10.7.1.11",
        card,
        "t3.small",
    )
    seen = ec2.describe_instances(InstanceIds=[state["id"]])["Reservations"][0]["Instances"][0]
    assert seen["State"]["Name"] == "terminated"


def test_an_instance_in_a_subnet(plugin: AwsClient, account: Account) -> None:
    inputs = {
        "ami": account.image(),
        "instanceType": "t3.micro",
        "subnetId": account.subnet(),
        "sourceDestCheck": False,
    }
    state = lives(plugin, "ec2/instance:Instance", inputs, sourceDestCheck=True)
    assert state["subnetId"] == inputs["subnetId"]


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


def test_what_was_changed_behind_our_back_is_seen(plugin: AwsClient, ec2: Any) -> None:
    vpc = plugin.of("ec2/vpc:Vpc")
    inputs = {"cidrBlock": "10.7.0.0/16", "tags": TAGS}
    identity, state = vpc.create(inputs)
    ec2.create_tags(Resources=[identity], Tags=[{"Key": "Name", "Value": "hand"}])
    _, seen, kept = vpc.read(identity, state, inputs)
    assert (seen["tags"]["Name"], kept["tags"]["Name"]) == ("hand", "hand")
    assert list(vpc.diff(seen, kept, inputs)) == ["tags.Name"]


def test_a_refusal_of_the_api_is_told_with_its_code(plugin: AwsClient) -> None:
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("ec2/subnet:Subnet").create({"vpcId": "vpc-0123456789abcdef0", "cidrBlock": "10.7.0.0/24"})
    assert "EC2: create_subnet: api error InvalidVpcID.NotFound" in refused(error)


def test_functions(plugin: AwsClient, account: Account) -> None:
    zones = call(plugin, "aws:index/getAvailabilityZones:getAvailabilityZones", state="available")
    assert zones["names"] == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    assert call(plugin, "aws:index/getRegion:getRegion")["region"] == "eu-central-1"
    assert call(plugin, "aws:index/getCallerIdentity:getCallerIdentity")["accountId"] == "123456789012"
    vpc = account.vpc()
    subnet = account.subnet(vpc)
    assert call(plugin, "aws:ec2/getVpc:getVpc", id=vpc)["cidrBlock"] == "10.7.0.0/16"
    assert call(plugin, "aws:ec2/getSubnet:getSubnet", id=subnet)["availabilityZone"] == ZONE
    found = call(plugin, "aws:ec2/getInstanceType:getInstanceType", instanceType="m7g.large")
    assert found["supportedArchitectures"] == ["arm64"]
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    assert call(plugin, "aws:ssm/getParameter:getParameter", name=name)["insecureValue"].startswith("ami-")


@pytest.mark.parametrize(
    ("function", "given", "text"),
    [
        ("aws:ec2/getAmi:getAmi", {"owners": ["amazon"]}, "more than one result"),
        ("aws:ec2/getAmi:getAmi", {"filters": [{"name": "name", "values": ["x"]}]}, "returned no results"),
        ("aws:ec2/getVpc:getVpc", {"id": "vpc-0123456789abcdef0"}, "InvalidVpcID.NotFound"),
        ("aws:ec2/getVpcs:getVpcs", {}, "is no function of this stand-in"),
    ],
)
def test_a_function_that_finds_nothing_fails(
    plugin: AwsClient, function: str, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call(plugin, function, **given)
    assert text in refused(error)
