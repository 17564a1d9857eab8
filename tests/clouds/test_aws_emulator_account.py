"""The emulated AWS without a machine: what it knows, and what it refuses as AWS does, asked with boto3."""

from typing import Any

import pytest

from lab.clouds import AwsCloud
from tests.support.aws_clouds import (
    ANYWHERE,
    OTHER_ZONE,
    SMALL,
    SMALL_ARM,
    ZONE,
    Site,
    aws,
    ec2,
    image,
    refused,
    site,
)

__all__ = ["aws", "ec2"]

NOBODY = "sg-0123456789abcdef0"


@pytest.fixture
def here(ec2: Any) -> Site:
    return site(ec2, public=False)


def launch(here: Site, **asked: Any) -> None:
    usual = {"ImageId": image(here.ec2), "InstanceType": SMALL, "MinCount": 1, "MaxCount": 1}
    if "NetworkInterfaces" not in asked:
        usual |= {"SubnetId": here.subnets[0], "SecurityGroupIds": [here.group]}
    here.ec2.run_instances(**{**usual, **asked})


@pytest.mark.parametrize(
    ("owner", "name", "parameter"),
    [
        ("136693071363", "debian-12-amd64-*", "debian/release/12/latest/amd64"),
        ("136693071363", "debian-12-arm64-*", "debian/release/12/latest/arm64"),
        (
            "099720109477",
            "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-*",
            "canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id",
        ),
        ("amazon", "al2023-ami-2023.*-x86_64", "ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"),
    ],
)
def test_public_images_have_the_names_owners_and_parameters_that_they_have_in_aws(
    aws: AwsCloud, ec2: Any, owner: str, name: str, parameter: str
) -> None:
    architecture = "arm64" if "arm64" in name else "x86_64"
    filters = [{"Name": "name", "Values": [name]}, {"Name": "architecture", "Values": [architecture]}]
    found = ec2.describe_images(Owners=[owner], Filters=filters)["Images"]
    assert [one["Architecture"] for one in found] == [architecture] * 2
    newest = max(found, key=lambda one: str(one["CreationDate"]))
    value = aws.client("ssm").get_parameter(Name=f"/aws/service/{parameter}")["Parameter"]["Value"]
    assert value == newest["ImageId"]
    elsewhere = aws.client(region="us-east-1").describe_images(Owners=[owner], Filters=filters)["Images"]
    assert not {one["ImageId"] for one in elsewhere} & {one["ImageId"] for one in found}


def test_zones_and_instance_types_are_those_of_aws(ec2: Any) -> None:
    zones = [one["ZoneName"] for one in ec2.describe_availability_zones()["AvailabilityZones"]]
    assert zones == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    types = ec2.describe_instance_types(InstanceTypes=["t3.medium", "m7g.large"])["InstanceTypes"]
    assert {one["InstanceType"]: one["ProcessorInfo"]["SupportedArchitectures"] for one in types} == {
        "t3.medium": ["x86_64"],
        "m7g.large": ["arm64"],
    }


def test_the_same_endpoint_serves_identity_roles_and_buckets(aws: AwsCloud, ec2: Any) -> None:
    assert aws.client("sts").get_caller_identity()["Account"] == "123456789012"
    iam = aws.client("iam")
    iam.create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="profile")
    iam.add_role_to_instance_profile(RoleName="role", InstanceProfileName="profile")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="snapshots", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="snapshots", Key="one", Body=b"data")
    assert s3.get_object(Bucket="snapshots", Key="one")["Body"].read() == b"data"
    found = aws.resources()
    assert (found["roles"], found["instance_profiles"]) == (["role"], ["profile"])


def test_a_new_account_has_nothing_but_what_aws_gives_it(aws: AwsCloud, ec2: Any) -> None:
    assert not any(aws.resources().values())
    assert [vpc["IsDefault"] for vpc in ec2.describe_vpcs()["Vpcs"]] == [True]


def test_an_interface_without_a_wish_gets_the_first_free_address(here: Site) -> None:
    here.card("10.7.0.4")
    card = here.card()
    seen = here.ec2.describe_network_interfaces(NetworkInterfaceIds=[card])["NetworkInterfaces"][0]
    assert seen["PrivateIpAddress"] == "10.7.0.5"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "t3.enormous"}, "InvalidParameterValue"),
        ({"InstanceType": SMALL_ARM}, "InvalidParameterValue"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"SecurityGroupIds": [NOBODY]}, "InvalidGroup.NotFound"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"UserData": "x" * 16385}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "10.8.0.10"}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "10.7.0.3"}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "10.7.0.255"}, "InvalidParameterValue"),
        (
            {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 4}}]},
            "InvalidBlockDeviceMapping",
        ),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
    ],
)
def test_a_wrong_launch_is_refused(here: Site, asked: dict[str, Any], code: str) -> None:
    with refused(code):
        launch(here, **asked)
    assert here.ec2.describe_instances()["Reservations"] == []


def test_a_launch_with_groups_beside_an_interface_or_of_another_vpc_is_refused(here: Site) -> None:
    nics = [{"DeviceIndex": 0, "NetworkInterfaceId": here.card()}]
    with refused("InvalidParameterCombination"):
        launch(here, NetworkInterfaces=nics, SecurityGroupIds=[here.group])
    vpc = here.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    foreign = here.ec2.create_security_group(GroupName="foreign", Description="x", VpcId=vpc)["GroupId"]
    with refused("InvalidParameter"):
        launch(here, SecurityGroupIds=[foreign])
    with refused("InvalidParameter"):
        here.card(groups=[foreign])


def test_an_address_is_had_once_and_inside_its_subnet(here: Site) -> None:
    here.card("10.7.0.11")
    with refused("InvalidIPAddress.InUse"):
        here.card("10.7.0.11")
    with refused("InvalidParameterValue"):
        here.card("10.7.1.11")
    with refused("InvalidParameterValue"):
        here.card("10.7.0.2")
    with refused("InvalidGroup.NotFound"):
        here.card(groups=[NOBODY])


def test_what_others_depend_on_is_not_deleted(here: Site) -> None:
    ec2 = here.ec2
    card = here.card()
    other = here.new_group("other")
    here.open(other, 2379, UserIdGroupPairs=[{"GroupId": here.group}])
    with refused("DependencyViolation"):
        ec2.delete_security_group(GroupId=here.group)
    ec2.delete_network_interface(NetworkInterfaceId=card)
    with refused("DependencyViolation"):
        ec2.delete_security_group(GroupId=here.group)
    ec2.delete_security_group(GroupId=other)
    card = here.card()
    here.address(card)
    with refused("DependencyViolation"):
        ec2.delete_subnet(SubnetId=here.subnets[0])
    with refused("DependencyViolation"):
        ec2.detach_internet_gateway(InternetGatewayId=here.gateway, VpcId=here.vpc)
    with refused("DependencyViolation"):
        ec2.delete_route_table(RouteTableId=here.table)
    with refused("DependencyViolation"):
        ec2.delete_vpc(VpcId=here.vpc)
    ec2.delete_network_interface(NetworkInterfaceId=card)
    for subnet in here.subnets:
        ec2.delete_subnet(SubnetId=subnet)
    ec2.detach_internet_gateway(InternetGatewayId=here.gateway, VpcId=here.vpc)
    ec2.delete_route_table(RouteTableId=here.table)
    with refused("DependencyViolation"):
        ec2.delete_vpc(VpcId=here.vpc)
    ec2.delete_security_group(GroupId=here.group)
    ec2.delete_vpc(VpcId=here.vpc)


def test_a_gateway_that_is_attached_or_of_another_vpc_is_refused(here: Site) -> None:
    ec2 = here.ec2
    second = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    with refused("InvalidParameterValue"):
        ec2.attach_internet_gateway(InternetGatewayId=second, VpcId=here.vpc)
    with refused("DependencyViolation"):
        ec2.delete_internet_gateway(InternetGatewayId=here.gateway)
    with refused("InvalidParameterValue"):
        ec2.create_route(RouteTableId=here.table, DestinationCidrBlock="192.0.2.0/24", GatewayId=second)
    with refused("InvalidNatGatewayID.NotFound"):
        nat = "nat-0123456789abcdef0"
        ec2.create_route(RouteTableId=here.table, DestinationCidrBlock="192.0.2.0/24", NatGatewayId=nat)
    with refused("RouteAlreadyExists"):
        ec2.create_route(RouteTableId=here.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=here.gateway)
    table = ec2.create_route_table(VpcId=here.vpc)["RouteTable"]["RouteTableId"]
    with refused("Resource.AlreadyAssociated"):
        ec2.associate_route_table(RouteTableId=table, SubnetId=here.subnets[0])


def test_a_public_address_needs_an_internet_gateway_and_belongs_to_one(here: Site) -> None:
    ec2 = here.ec2
    first, second = (ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(2))
    card = here.card()
    ec2.associate_address(AllocationId=first, NetworkInterfaceId=card)
    with refused("Resource.AlreadyAssociated"):
        ec2.associate_address(AllocationId=second, NetworkInterfaceId=card)
    with refused("InvalidIPAddress.InUse"):
        ec2.release_address(AllocationId=first)
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone=ZONE)["Subnet"]["SubnetId"]
    island = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    with refused("Gateway.NotAttached"):
        ec2.associate_address(AllocationId=second, NetworkInterfaceId=island)
    with refused("Gateway.NotAttached"):
        ec2.create_nat_gateway(SubnetId=subnet, AllocationId=second)
    with refused("Resource.AlreadyAssociated"):
        ec2.create_nat_gateway(SubnetId=here.subnets[0], AllocationId=first)
    ec2.delete_network_interface(NetworkInterfaceId=card)
    ec2.release_address(AllocationId=first)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"VpcId": "here", "CidrBlock": "10.8.0.0/24"}, "InvalidSubnet.Range"),
        ({"VpcId": "here", "CidrBlock": "10.7.0.0/25"}, "InvalidSubnet.Conflict"),
        ({"VpcId": "here", "CidrBlock": "10.7.9.0/29"}, "InvalidSubnet.Range"),
        ({"VpcId": "here", "CidrBlock": "10.7.9.0/24", "AvailabilityZone": "eu-west-1a"}, "InvalidParameterValue"),
    ],
)
def test_a_wrong_subnet_is_refused(here: Site, asked: dict[str, Any], code: str) -> None:
    with refused(code):
        here.ec2.create_subnet(**{**asked, "VpcId": here.vpc})


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"FromPort": 22, "ToPort": 22, "IpRanges": ANYWHERE}, "InvalidPermission.Duplicate"),
        ({"FromPort": 90, "ToPort": 80, "IpRanges": ANYWHERE}, "InvalidParameterValue"),
        ({"FromPort": 1, "ToPort": 65536, "IpRanges": ANYWHERE}, "InvalidParameterValue"),
        ({"FromPort": 1, "ToPort": 2, "IpRanges": [{"CidrIp": "10.0.0.0/33"}]}, "InvalidParameterValue"),
        (
            {"FromPort": 1, "ToPort": 2, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "it's"}]},
            "InvalidParameterValue",
        ),
        (
            {"FromPort": 1, "ToPort": 2, "UserIdGroupPairs": [{"GroupId": "sg-0123456789abcdef0"}]},
            "InvalidGroup.NotFound",
        ),
    ],
)
def test_a_wrong_rule_is_refused(here: Site, rule: dict[str, Any], code: str) -> None:
    with refused(code):
        here.ec2.authorize_security_group_ingress(GroupId=here.group, IpPermissions=[{"IpProtocol": "tcp", **rule}])


def test_a_rule_shows_its_description_whatever_its_source(here: Site) -> None:
    rule = here.open(here.group, 2380, UserIdGroupPairs=[{"GroupId": here.group, "Description": "members"}])
    seen = here.ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"][0]
    assert (seen["Description"], seen["ReferencedGroupInfo"]["GroupId"]) == ("members", here.group)


def test_a_wrong_group_is_refused(here: Site) -> None:
    with refused("InvalidGroup.Duplicate"):
        here.new_group("group")
    with refused("InvalidParameterValue"):
        here.new_group("sg-mine")
    with refused("InvalidParameterValue"):
        here.ec2.create_security_group(GroupName="a", Description="it's mine", VpcId=here.vpc)
    default = here.ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])
    with refused("CannotDelete"):
        here.ec2.delete_security_group(GroupId=default["SecurityGroups"][0]["GroupId"])


@pytest.mark.parametrize(
    "asked",
    [
        {"Iops": 2999},
        {"Throughput": 124},
        {"Size": 10, "Iops": 5001},
        {"Iops": 3000, "Throughput": 751},
        {"VolumeType": "io2"},
        {"VolumeType": "gp2", "Throughput": 125},
    ],
)
def test_a_volume_that_cannot_be_so_fast_is_refused(ec2: Any, asked: dict[str, Any]) -> None:
    wrong = "InvalidParameterValue" if asked.get("VolumeType", "gp3") == "gp3" else "InvalidParameterDependency"
    with refused(wrong):
        ec2.create_volume(**{"AvailabilityZone": OTHER_ZONE, "Size": 20, "VolumeType": "gp3", **asked})


def test_a_volume_never_becomes_smaller(ec2: Any) -> None:
    volume = ec2.create_volume(AvailabilityZone=ZONE, Size=20, VolumeType="gp3")["VolumeId"]
    with refused("InvalidParameterValue"):
        ec2.modify_volume(VolumeId=volume, Size=19)
    with refused("InvalidVolume.NotFound"):
        ec2.delete_volume(VolumeId="vol-0123456789abcdef0")
