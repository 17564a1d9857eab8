"""The aws stand-in with the real engine: a whole program, from the first run to destroy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.engine import environment
from tests.support.aws_client import ENVIRON, REGION, client, moto
from tests.support.stacks import Stack, program_stack

PROGRAM = """
import os
import pulumi, pulumi_aws as aws
from components.irreplaceable import attachment_refusal, irreplaceable

stays = irreplaceable("attachments", attachment_refusal, unless="instanceId")
tags = {"cluster": os.environ.get("CLUSTER", "dev")}
image = aws.ec2.get_ami_output(most_recent=True, owners=["amazon"],
    filters=[{"name": "architecture", "values": ["x86_64"]}, {"name": "name", "values": ["Deep*"]}]).id
vpc = aws.ec2.Vpc("net", cidr_block="10.7.0.0/16", enable_dns_hostnames=True, tags=tags)
gateway = aws.ec2.InternetGateway("net", vpc_id=vpc.id, tags=tags)
table = aws.ec2.RouteTable("net", vpc_id=vpc.id, tags=tags)
aws.ec2.Route("out", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id)
group = aws.ec2.SecurityGroup("members", vpc_id=vpc.id, revoke_rules_on_delete=True, tags=tags)
aws.vpc.SecurityGroupIngressRule("peers", security_group_id=group.id, referenced_security_group_id=group.id,
    ip_protocol="tcp", from_port=2380, to_port=2380, tags=tags)
aws.vpc.SecurityGroupEgressRule("out", security_group_id=group.id, ip_protocol="-1", cidr_ipv4="0.0.0.0/0", tags=tags)
servers = []
for number in range(3):
    name, zone = f"etcd-{number + 1}", f"eu-central-1{'abc'[number]}"
    subnet = aws.ec2.Subnet(name, vpc_id=vpc.id, cidr_block=f"10.7.{number}.0/24", availability_zone=zone)
    aws.ec2.RouteTableAssociation(name, route_table_id=table.id, subnet_id=subnet.id)
    card = aws.ec2.NetworkInterface(name, subnet_id=subnet.id, private_ips=[f"10.7.{number}.11"],
        security_groups=[group.id], tags=tags)
    address = aws.ec2.Eip(name, domain="vpc", network_interface=card.id, tags=tags)
    server = aws.ec2.Instance(name, ami=image, instance_type="t3.micro",
        primary_network_interface={"network_interface_id": card.id}, user_data=pulumi.Output.secret(
        os.environ.get("DATA", "first")), user_data_replace_on_change=True,
        metadata_options={"http_tokens": "required"}, root_block_device={"volume_size": 16, "tags": tags},
        tags={**tags, "Name": name}, opts=pulumi.ResourceOptions(delete_before_replace=True))
    volume = aws.ebs.Volume(name, availability_zone=zone, size=int(os.environ.get("SIZE", "10")), type="gp3")
    aws.ec2.VolumeAttachment(name, device_name="/dev/sdf", instance_id=server.id, volume_id=volume.id,
        opts=pulumi.ResourceOptions(delete_before_replace=False, deleted_with=server,
            hooks=pulumi.ResourceHookBinding(before_create=[stays])))
    servers.append(server)
pulumi.export("ids", [server.id for server in servers])
pulumi.export("addresses", [server.private_ip for server in servers])
"""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with moto() as address:
        yield address


@pytest.fixture
def stack(endpoint: str, tmp_path: Path) -> Stack:
    environ = {**environment(tmp_path), **ENVIRON, "AWS_ENDPOINT_URL": endpoint}
    return program_stack("aws", PROGRAM, tmp_path, environ, {"aws:region": REGION})


def instances(ec2: Any) -> dict[str, dict[str, Any]]:
    rows = [row for one in ec2.describe_instances()["Reservations"] for row in one["Instances"]]
    return {row["InstanceId"]: row for row in rows if row["State"]["Name"] != "terminated"}


def test_a_program_with_three_machines_from_creation_to_destroy(stack: Stack, endpoint: str) -> None:
    ec2 = client(endpoint)
    first = stack.update()
    assert first["addresses"] == ["10.7.0.11", "10.7.1.11", "10.7.2.11"]
    assert set(instances(ec2)) == set(first["ids"])
    stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    refused = stack.up("--replace", "**VolumeAttachment::etcd-2", check=False)
    assert refused.code != 0
    assert "etcd-2 must not be replaced: the volume of a member cannot be detached" in refused.text

    ec2.terminate_instances(InstanceIds=first["ids"][:1])
    second = stack.update("--refresh", CLUSTER="prod", SIZE="20")
    assert (second["addresses"], second["ids"][1:]) == (first["addresses"], first["ids"][1:]), (
        "tags and sizes change in place"
    )
    assert second["ids"][0] != first["ids"][0]

    replaced = stack.update(DATA="second")
    assert not set(replaced["ids"]) & {*first["ids"], *second["ids"]}
    assert replaced["addresses"] == first["addresses"]
    volumes = [row for row in ec2.describe_volumes()["Volumes"] if row["Size"] == 20]
    assert {row["Attachments"][0]["InstanceId"] for row in volumes} == set(replaced["ids"])

    assert '"second"' not in json.dumps(stack.export()), "a secret input is secret in the state"
    stack.destroy()
    assert instances(ec2) == {}
    assert ec2.describe_volumes()["Volumes"] == []
    assert [row["IsDefault"] for row in ec2.describe_vpcs()["Vpcs"]] == [True]
