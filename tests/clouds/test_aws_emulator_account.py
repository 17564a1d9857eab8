"""The emulated AWS without machines, through boto3: what it knows, and what it refuses like AWS."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from lab.clouds import AwsCloud
from tests.support.aws_clouds import ANYWHERE, SMALL, SMALL_ARM, ZONE, Site, aws, image, refused, site

__all__ = ["aws"]

NOBODY = "sg-0123456789abcdef0"


@pytest.fixture(scope="module")
def ec2(aws: AwsCloud) -> Any:
    return aws.client()


@dataclass
class Scene:
    """A site with an interface that has a public address, another VPC without a gateway, and a volume."""

    here: Site
    ec2: Any
    allocation: str
    free: str
    island: str
    island_card: str
    foreign: str
    gateway: str
    other: str
    disk: str

    def launch(self, **asked: Any) -> None:
        usual = {"ImageId": image(self.ec2), "InstanceType": SMALL, "MinCount": 1, "MaxCount": 1}
        usual |= {"SubnetId": self.here.subnets[0], "SecurityGroupIds": [self.here.group]}
        self.ec2.run_instances(**{**usual, **asked})

    def rule(self, first: int, last: int, **source: Any) -> None:
        rule = {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, **source}
        self.ec2.authorize_security_group_ingress(GroupId=self.here.group, IpPermissions=[rule])

    def route(self, destination: str, **target: str) -> None:
        self.ec2.create_route(RouteTableId=self.here.table, DestinationCidrBlock=destination, **target)

    def subnet(self, cidr: str, zone: str = ZONE) -> None:
        self.ec2.create_subnet(VpcId=self.here.vpc, CidrBlock=cidr, AvailabilityZone=zone)

    def group(self, name: str, text: str = "x") -> str:
        made = self.ec2.create_security_group(GroupName=name, Description=text, VpcId=self.here.vpc)
        return str(made["GroupId"])

    def volume(self, **asked: Any) -> str:
        usual = {"AvailabilityZone": ZONE, "Size": 20, "VolumeType": "gp3"}
        return str(self.ec2.create_volume(**{**usual, **asked})["VolumeId"])


@pytest.fixture(scope="module")
def scene(ec2: Any) -> Scene:
    """Shared by all tests: a refused request changes nothing."""
    here = site(ec2, public=False)
    card = here.card("10.7.0.11")
    allocation, free = (ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(2))
    ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=card)
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    island = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone=ZONE)["Subnet"]["SubnetId"]
    island_card = ec2.create_network_interface(SubnetId=island)["NetworkInterface"]["NetworkInterfaceId"]
    foreign = ec2.create_security_group(GroupName="foreign", Description="x", VpcId=vpc)["GroupId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    other = here.new_group("other")
    here.open(other, 2379, UserIdGroupPairs=[{"GroupId": here.group}])
    disk = ec2.create_volume(AvailabilityZone=ZONE, Size=20, VolumeType="gp3")["VolumeId"]
    return Scene(here, ec2, allocation, free, island, island_card, foreign, gateway, other, disk)


BAD, DEPENDS = "InvalidParameterValue", "DependencyViolation"
REFUSALS: dict[str, tuple[str, Callable[[Scene], Any]]] = {
    # launching
    "an unknown image": ("InvalidAMIID.NotFound", lambda s: s.launch(ImageId="ami-0123456789abcdef0")),
    "an unknown type": (BAD, lambda s: s.launch(InstanceType="t3.enormous")),
    "another architecture": (BAD, lambda s: s.launch(InstanceType=SMALL_ARM)),
    "a key pair": ("InvalidKeyPair.NotFound", lambda s: s.launch(KeyName="mine")),
    "an unknown group": ("InvalidGroup.NotFound", lambda s: s.launch(SecurityGroupIds=[NOBODY])),
    "an unknown subnet": ("InvalidSubnetID.NotFound", lambda s: s.launch(SubnetId="subnet-0123456789abcdef0")),
    "long user data": (BAD, lambda s: s.launch(UserData="x" * 16385)),
    "an address outside": (BAD, lambda s: s.launch(PrivateIpAddress="10.8.0.10")),
    "a small root volume": (
        "InvalidBlockDeviceMapping",
        lambda s: s.launch(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 4}}]),
    ),
    "an unknown profile": (BAD, lambda s: s.launch(IamInstanceProfile={"Name": "nobody"})),
    "a group of another VPC": ("InvalidParameter", lambda s: s.launch(SecurityGroupIds=[s.foreign])),
    # interfaces
    "a foreign group": ("InvalidParameter", lambda s: s.here.card(groups=[s.foreign])),
    "no such group": ("InvalidGroup.NotFound", lambda s: s.here.card(groups=[NOBODY])),
    "an address that is taken": ("InvalidIPAddress.InUse", lambda s: s.here.card("10.7.0.11")),
    "an address of another subnet": (BAD, lambda s: s.here.card("10.7.1.11")),
    "a subnet's second address": (BAD, lambda s: s.here.card("10.7.0.2")),
    "a subnet's last address": (BAD, lambda s: s.here.card("10.7.0.255")),
    # networks
    "a subnet outside": ("InvalidSubnet.Range", lambda s: s.subnet("10.8.0.0/24")),
    "a subnet that overlaps": ("InvalidSubnet.Conflict", lambda s: s.subnet("10.7.0.0/25")),
    "a small subnet": ("InvalidSubnet.Range", lambda s: s.subnet("10.7.9.0/29")),
    "a zone elsewhere": (BAD, lambda s: s.subnet("10.7.9.0/24", zone="eu-west-1a")),
    "a subnet in use": (DEPENDS, lambda s: s.ec2.delete_subnet(SubnetId=s.here.subnets[0])),
    "a VPC in use": (DEPENDS, lambda s: s.ec2.delete_vpc(VpcId=s.here.vpc)),
    "a table in use": (DEPENDS, lambda s: s.ec2.delete_route_table(RouteTableId=s.here.table)),
    "a gateway in use": (
        DEPENDS,
        lambda s: s.ec2.detach_internet_gateway(InternetGatewayId=s.here.gateway, VpcId=s.here.vpc),
    ),
    "an attached gateway": (DEPENDS, lambda s: s.ec2.delete_internet_gateway(InternetGatewayId=s.here.gateway)),
    "a gateway that is not attached": (BAD, lambda s: s.route("192.0.2.0/24", GatewayId=s.gateway)),
    "no such NAT gateway": (
        "InvalidNatGatewayID.NotFound",
        lambda s: s.route("192.0.2.0/24", NatGatewayId="nat-0123456789abcdef0"),
    ),
    "a second route": ("RouteAlreadyExists", lambda s: s.route("0.0.0.0/0", GatewayId=s.here.gateway)),
    # public addresses
    "an address in use": ("InvalidIPAddress.InUse", lambda s: s.ec2.release_address(AllocationId=s.allocation)),
    "an address without a gateway": (
        "Gateway.NotAttached",
        lambda s: s.ec2.associate_address(AllocationId=s.free, NetworkInterfaceId=s.island_card),
    ),
    "NAT without a gateway": (
        "Gateway.NotAttached",
        lambda s: s.ec2.create_nat_gateway(SubnetId=s.island, AllocationId=s.free),
    ),
    # groups
    "a rule that is there": ("InvalidPermission.Duplicate", lambda s: s.rule(22, 22, IpRanges=ANYWHERE)),
    "an invalid range": (BAD, lambda s: s.rule(1, 2, IpRanges=[{"CidrIp": "10.0.0.0/33"}])),
    "a rule's description": (BAD, lambda s: s.rule(1, 2, IpRanges=[{"CidrIp": "10.0.0.0/8", "Description": "it's"}])),
    "a rule for an unknown group": (
        "InvalidGroup.NotFound",
        lambda s: s.rule(1, 2, UserIdGroupPairs=[{"GroupId": NOBODY}]),
    ),
    "a group's name that is used": ("InvalidGroup.Duplicate", lambda s: s.group("other")),
    "a group's description": (BAD, lambda s: s.group("new", "it's mine")),
    "a group of an interface": (DEPENDS, lambda s: s.ec2.delete_security_group(GroupId=s.here.group)),
    # volumes
    "io2 without a speed": ("InvalidParameterDependency", lambda s: s.volume(VolumeType="io2")),
    "gp2 with a throughput": ("InvalidParameterDependency", lambda s: s.volume(VolumeType="gp2", Throughput=125)),
    "a volume that shrinks": (BAD, lambda s: s.ec2.modify_volume(VolumeId=s.disk, Size=19)),
    "no such volume": ("InvalidVolume.NotFound", lambda s: s.ec2.delete_volume(VolumeId="vol-0123456789abcdef0")),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_invalid_requests_are_refused_like_aws(scene: Scene, what: str) -> None:
    code, ask = REFUSALS[what]
    with refused(code):
        ask(scene)
    assert scene.ec2.describe_instances()["Reservations"] == []


def test_public_images_have_awss_names_and_owners(aws: AwsCloud, ec2: Any) -> None:
    for owner, name in (
        ("136693071363", "debian-12-arm64-*"),
        ("099720109477", "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-*"),
        ("amazon", "al2023-ami-2023.*-arm64"),
    ):
        filters = [{"Name": "name", "Values": [name]}, {"Name": "architecture", "Values": ["arm64"]}]
        found = {one["ImageId"] for one in ec2.describe_images(Owners=[owner], Filters=filters)["Images"]}
        elsewhere = aws.client(region="us-east-1").describe_images(Owners=[owner], Filters=filters)["Images"]
        assert len(found) == 2
        assert not {one["ImageId"] for one in elsewhere} & found


def test_zones_and_instance_types_match_aws(ec2: Any) -> None:
    zones = [one["ZoneName"] for one in ec2.describe_availability_zones()["AvailabilityZones"]]
    assert zones == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    types = ec2.describe_instance_types(InstanceTypes=["t3.medium", "m7g.large"])["InstanceTypes"]
    assert {one["InstanceType"]: one["ProcessorInfo"]["SupportedArchitectures"] for one in types} == {
        "t3.medium": ["x86_64"],
        "m7g.large": ["arm64"],
    }


def test_an_interface_gets_the_first_free_address_by_default(scene: Scene) -> None:
    scene.here.card("10.7.0.4")
    seen = scene.ec2.describe_network_interfaces(NetworkInterfaceIds=[scene.here.card()])["NetworkInterfaces"][0]
    assert seen["PrivateIpAddress"] == "10.7.0.5"


def test_a_rule_shows_its_description_whatever_its_source(scene: Scene) -> None:
    here = scene.here
    rule = here.open(here.group, 2380, UserIdGroupPairs=[{"GroupId": here.group, "Description": "members"}])
    seen = scene.ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"][0]
    assert (seen["Description"], seen["ReferencedGroupInfo"]["GroupId"]) == ("members", here.group)


def test_an_account_can_be_emptied_in_order_and_by_a_reset(scene: Scene, aws: AwsCloud) -> None:
    """Must be the last test."""
    ec2, here = scene.ec2, scene.here
    for row in ec2.describe_network_interfaces(Filters=[{"Name": "vpc-id", "Values": [here.vpc]}])["NetworkInterfaces"]:
        ec2.delete_network_interface(NetworkInterfaceId=row["NetworkInterfaceId"])
    with refused(DEPENDS):
        ec2.delete_security_group(GroupId=here.group)  # another group's rule refers to it
    ec2.delete_security_group(GroupId=scene.other)
    for subnet in here.subnets:
        ec2.delete_subnet(SubnetId=subnet)
    ec2.detach_internet_gateway(InternetGatewayId=here.gateway, VpcId=here.vpc)
    for table in ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [here.vpc]}])["RouteTables"]:
        if not any(row["Main"] for row in table["Associations"]):
            ec2.delete_route_table(RouteTableId=table["RouteTableId"])
    with refused(DEPENDS):
        ec2.delete_vpc(VpcId=here.vpc)
    ec2.delete_security_group(GroupId=here.group)
    ec2.delete_vpc(VpcId=here.vpc)
    assert any(aws.resources().values())
    aws.reset()
    assert not any(aws.resources().values())
    assert [vpc["IsDefault"] for vpc in ec2.describe_vpcs()["Vpcs"]] == [True]
