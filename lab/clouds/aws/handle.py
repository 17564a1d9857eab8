"""The emulated AWS, as tests and the command line use it."""

import urllib.request
from typing import Any, ClassVar

from ..emulator import CloudMachine, EmulatedCloud
from ..guest import guest_of

REGION = "eu-central-1"
# Kinds of resources: the call that lists them, the list in its answer, and the id in each entry.
_KINDS = {
    "instances": ("describe_instances", "Reservations[].Instances[?State.Name != 'terminated'][]", "InstanceId"),
    "volumes": ("describe_volumes", "Volumes", "VolumeId"),
    "network_interfaces": ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    "addresses": ("describe_addresses", "Addresses", "AllocationId"),
    "nat_gateways": ("describe_nat_gateways", "NatGateways[?State != 'deleted']", "NatGatewayId"),
    "vpcs": ("describe_vpcs", "Vpcs[?!IsDefault]", "VpcId"),
    "subnets": ("describe_subnets", "Subnets[?!DefaultForAz]", "SubnetId"),
    "internet_gateways": ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "route_tables": ("describe_route_tables", "RouteTables[?!(Associations[?Main])]", "RouteTableId"),
    "security_groups": ("describe_security_groups", "SecurityGroups[?GroupName != 'default']", "GroupId"),
}


class AwsCloud(EmulatedCloud):
    """The emulated AWS in a directory."""

    kind: ClassVar[str] = "aws"

    def environment(self) -> dict[str, str]:
        """The environment of a client: one endpoint for all services, and credentials, which are not checked."""
        keys = {"AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "lab"}
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, **keys}

    def client(self, region: str = REGION, service: str = "ec2") -> Any:
        """A boto3 client of EC2, or of another service."""
        import boto3  # noqa: PLC0415 - the lab without a cloud does not need it

        keys = {"aws_access_key_id": "lab", "aws_secret_access_key": "lab"}
        return boto3.client(service, region_name=region, endpoint_url=self.endpoint, **keys)

    def resources(self) -> dict[str, list[str]]:
        """Ids of everything in the account, by kind, except what every account has from the start."""
        import jmespath  # noqa: PLC0415 - comes with boto3

        client = self.client()
        return {
            kind: [row[name] for row in jmespath.search(path, getattr(client, call)())]
            for kind, (call, path, name) in _KINDS.items()
        }

    def reset(self) -> None:
        """Empty the account: machines, disks, everything."""
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=120):  # noqa: S310
            pass

    def machines(self) -> list[CloudMachine]:
        """All instances that are not terminated; the name is the tag Name, by default the id."""
        pages = self.client().get_paginator("describe_instances").paginate()
        rows = [row for page in pages for one in page["Reservations"] for row in one["Instances"]]
        return [self._machine(row) for row in rows if row["State"]["Name"] != "terminated"]

    def _machine(self, row: dict[str, Any]) -> CloudMachine:
        private = tuple(
            one["PrivateIpAddress"] for nic in row["NetworkInterfaces"] for one in nic["PrivateIpAddresses"]
        )
        identity = row["InstanceId"]
        guest = guest_of(self.lab, identity)
        return CloudMachine(identity, _name(row) or identity, row.get("PublicIpAddress"), private, guest)


def _name(row: dict[str, Any]) -> str:
    return next((str(tag["Value"]) for tag in row.get("Tags", []) if tag["Key"] == "Name"), "")
