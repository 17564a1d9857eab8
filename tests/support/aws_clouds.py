"""An emulated AWS for tests: one per module, with an empty account for each test that uses `ec2`.

Modules import the fixtures `aws` and `ec2`.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.clouds import AwsCloud, CloudMachine
from tests.support.machines import temporary_lab

ZONE, OTHER_ZONE = "eu-central-1a", "eu-central-1b"
SMALL, SMALL_ARM = "t3.micro", "t4g.micro"
ANYWHERE = [{"CidrIp": "0.0.0.0/0"}]


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsCloud]:
    """The module's emulated AWS."""
    with temporary_lab("aws") as lab:
        cloud = AwsCloud(lab.dir).start()
        try:
            yield cloud
        finally:
            cloud.stop()


@contextlib.contextmanager
def refused(code: str) -> Iterator[None]:
    """Expect the block to be refused with this documented code."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert (error["Code"], bool(error["Message"])) == (code, True), caught.value


def image(ec2: Any, name: str = "debian-12-amd64-*") -> str:
    """The newest image with that name."""
    found = ec2.describe_images(Filters=[{"Name": "name", "Values": [name]}])["Images"]
    return str(max(found, key=lambda one: str(one["CreationDate"]))["ImageId"])


@dataclass
class Site:
    """A VPC with an internet gateway, a subnet in each of two zones, and a group: ssh in, everything out."""

    ec2: Any
    vpc: str
    gateway: str
    table: str
    subnets: list[str]
    group: str
    instances: list[str] = field(default_factory=list)

    def new_group(self, name: str) -> str:
        """Another security group, with AWS's default egress rule."""
        return str(self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"])

    def card(self, address: str | None = None, subnet: int = 0, groups: list[str] | None = None) -> str:
        """A network interface."""
        own = {"PrivateIpAddress": address} if address else {}
        asked = {"SubnetId": self.subnets[subnet], "Groups": groups or [self.group], **own}
        return str(self.ec2.create_network_interface(**asked)["NetworkInterface"]["NetworkInterfaceId"])

    def launch(self, *, wait: bool = True, data: dict[str, Any] | None = None, **asked: Any) -> str:
        """An instance in the first subnet: small, with the newest Debian, unless `asked` says otherwise."""
        settings = {"ImageId": image(self.ec2), "InstanceType": SMALL, "MinCount": 1, "MaxCount": 1, **asked}
        if "NetworkInterfaces" not in asked:
            settings = {"SubnetId": self.subnets[0], "SecurityGroupIds": [self.group], **settings}
        if data is not None:
            settings["UserData"] = "#cloud-config\n" + json.dumps(data)
        instance = str(self.ec2.run_instances(**settings)["Instances"][0]["InstanceId"])
        if wait:
            wait_for(self.ec2, instance, "running")
        return instance

    def with_card(self, card: str, **asked: Any) -> str:
        """An instance on an existing network interface."""
        return self.launch(NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": card}], **asked)

    def address(self, card: str) -> str:
        """A public address for a network interface."""
        made = self.ec2.allocate_address(Domain="vpc")
        self.ec2.associate_address(AllocationId=made["AllocationId"], NetworkInterfaceId=card)
        return str(made["PublicIp"])

    def open(self, group: str, port: int, *, direction: str = "ingress", **source: Any) -> str:
        """Add a rule for one TCP port; returns its id."""
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}
        answer = getattr(self.ec2, f"authorize_security_group_{direction}")(GroupId=group, IpPermissions=[rule])
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])


def site(ec2: Any, *, public: bool = True) -> Site:
    """A new site; `public`: instances get a public address by default."""
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    subnets = []
    for number, zone in enumerate((ZONE, OTHER_ZONE)):
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.7.{number}.0/24", AvailabilityZone=zone)["Subnet"][
            "SubnetId"
        ]
        ec2.associate_route_table(RouteTableId=table, SubnetId=made)
        ec2.modify_subnet_attribute(SubnetId=made, MapPublicIpOnLaunch={"Value": public})
        subnets.append(made)
    group = ec2.create_security_group(GroupName="group", Description="group", VpcId=vpc)["GroupId"]
    found = Site(ec2, vpc, gateway, table, subnets, group)
    found.open(group, 22, IpRanges=ANYWHERE)
    return found


def wait_for(ec2: Any, instance: str, state: str) -> None:
    """Wait until an instance is in a state."""
    waiter = ec2.get_waiter(f"instance_{state}")
    waiter.wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def described(ec2: Any, instance: str) -> dict[str, Any]:
    """The description of an instance."""
    return dict(ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0])


def ready(aws: AwsCloud, *instances: str) -> list[CloudMachine]:
    """The machines of instances, after cloud-init has succeeded."""
    found = [aws.machine(instance) for instance in instances]
    for machine in found:
        assert machine.wait_for_cloud_init() == "done", machine.run("cloud-init status --long", check=False).stdout
    return found
