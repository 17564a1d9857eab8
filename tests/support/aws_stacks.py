"""Stacks of the platform aws on the emulated cloud, for tests."""

from pathlib import Path
from typing import Any

from lab.clouds import AwsCloud, CloudMachine

from .aws_clouds import OTHER_ZONE, SMALL, image, ready, wait_for
from .cloud_stacks import CloudStacks
from .stacks import Stack


class AwsStacks(CloudStacks):
    """Creates stacks on one emulated AWS."""

    kind = "aws"
    package = "aws"

    def __init__(self, cloud: AwsCloud, directory: Path) -> None:
        super().__init__(cloud, directory, environ=cloud.environment())
        self.cloud = cloud
        self._beside: list[str] = []
        self._groups: list[str] = []

    def existing(self, *zones: str) -> dict[str, Any]:
        """Configuration of an existing VPC with a subnet in each zone and a route to the internet."""
        ec2 = self.cloud.client()
        vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
        ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        subnets = []
        for number, zone in enumerate(zones):
            range_ = f"10.7.{number}.0/26"
            row = ec2.create_subnet(VpcId=vpc, CidrBlock=range_, AvailabilityZone=zone)["Subnet"]
            subnets.append({"zone": zone, "range": range_, "id": row["SubnetId"]})
        return {"zones": None, "vpcId": vpc, "subnets": subnets}

    def beside(self, stack: Stack, *who: str) -> list[CloudMachine]:
        """In the second zone's subnet. A client is in the clients' group, others are in one without an ingress rule."""
        ec2, outputs = self.cloud.client(), stack.outputs()
        made = []
        for name in who:
            group = outputs["clients_security_group"]
            if name != "client":
                row = ec2.create_security_group(GroupName=name, Description=name, VpcId=outputs["network_id"])
                group = str(row["GroupId"])
                self._groups.append(group)
            (row,) = ec2.run_instances(
                ImageId=image(ec2),
                InstanceType=SMALL,
                MinCount=1,
                MaxCount=1,
                SubnetId=outputs["subnets"][OTHER_ZONE]["id"],
                SecurityGroupIds=[group],
                TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}],
            )["Instances"]
            made.append(row["InstanceId"])
        self._beside += made
        for instance in made:
            wait_for(ec2, instance, "running")
        return ready(self.cloud, *made)

    def remove_beside(self) -> None:
        """Also removes the security groups."""
        ec2 = self.cloud.client()
        if self._beside:
            ec2.terminate_instances(InstanceIds=self._beside)
        for instance in self._beside:
            wait_for(ec2, instance, "terminated")
        for group in self._groups:
            ec2.delete_security_group(GroupId=group)
        self._beside, self._groups = [], []

    def terminate(self, stack: Stack, slot: str) -> None:
        """Also waits for the end of the termination."""
        ec2, instance = self.cloud.client(), stack.outputs()["server_ids"][slot]
        ec2.terminate_instances(InstanceIds=[instance])
        wait_for(ec2, instance, "terminated")
