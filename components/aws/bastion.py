"""AwsBastion: the host through which machines without a public address are reached."""

from typing import NotRequired

import pulumi
import pulumi_aws as aws

from ..first_boot import OperatorArgs, made_bastion, operator_ssh, template, user_data
from ..machine import Bastion
from ..plan.aws import DEFAULT_ROOT_SIZE
from ..plan.aws_types import DEFAULT_IMAGE
from ..plan.firewall_rules import SSH_PORT
from ..ssh_key import ssh_key
from .images import Images
from .network import AwsNetwork
from .security_group_rules import Rules
from .server import METADATA, root_volume
from .tags import tags


class AwsBastionArgs(OperatorArgs):
    """Arguments of `AwsBastion`."""

    cluster_name: str
    """Name of the cluster: the instance is `<cluster>-bastion`."""
    instance_type: str
    """Instance type. The smallest is enough."""
    subnet_id: pulumi.Input[str]
    """Its subnet, with a route to an internet gateway: `edge_subnet_id` of the network."""
    operators: list[str]
    """Ranges from which ssh is allowed."""
    image: NotRequired[str]
    """`debian-12`, `ubuntu-24.04` or `al2023`. Default: `debian-12`."""
    ami: NotRequired[str]
    """ID of any other image. Default: the newest of `image` when the bastion is created."""
    tags: NotRequired[dict[str, str]]
    """More tags. Default: none."""


class AwsBastion(pulumi.ComponentResource):
    """A small machine with a public address. Ssh reaches the members only from it.

    Children: `<name>` (Instance, NetworkInterface, Eip, SecurityGroup, its host key's PrivateKey), `<name>-ssh`,
    and rules: `<name>-ssh-<range>`, `<name>-out`, `<name>-members` (on the members' group).
    """

    bastion: Bastion
    """`bastion` of the machines behind it."""

    def __init__(
        self, name: str, network: AwsNetwork, args: AwsBastionArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("external-etcd:index:AwsBastion", name, None, opts)
        cluster, further = args["cluster_name"], args.get("tags", {})
        marked = tags(cluster, further, f"{cluster}-bastion", role="bastion")
        child = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            name,
            vpc_id=network.vpc_id,
            description="Bastion of an etcd cluster",
            revoke_rules_on_delete=True,
            tags=marked,
            opts=child,
        ).id
        rules = Rules(self, name, cluster, further)
        opened = [
            *rules.from_ranges(group, "ssh", SSH_PORT, args["operators"]),
            rules.out(group, "out", None, None),
            rules.from_group(network.members_group_id, "members", SSH_PORT, "ssh", group),
        ]
        interface = aws.ec2.NetworkInterface(
            name,
            subnet_id=args["subnet_id"],
            security_groups=[group],
            description=f"{cluster}-bastion",
            tags=marked,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*network.ready, *opened]),
        )
        address = aws.ec2.Eip(name, domain="vpc", network_interface=interface.id, tags=marked, opts=child)
        host_key = ssh_key(name, "the bastion's host key", self)
        server = aws.ec2.Instance(
            name,
            ami=Images(self).id_of(args.get("image", DEFAULT_IMAGE), args.get("ami"), args["instance_type"]),
            instance_type=args["instance_type"],
            primary_network_interface=aws.ec2.InstancePrimaryNetworkInterfaceArgs(network_interface_id=interface.id),
            user_data=user_data(template(args, bastion=True), host_key),
            user_data_replace_on_change=True,
            metadata_options=METADATA,
            root_block_device=root_volume(DEFAULT_ROOT_SIZE, marked),
            tags=marked,
            opts=pulumi.ResourceOptions(
                parent=self,
                # Its network interface is in use until the old instance is gone.
                delete_before_replace=True,
                ignore_changes=["ami", "instanceType", "userData"],
            ),
        )
        self.bastion = made_bastion(name, operator_ssh(args, address.public_ip, host_key), server, self)
        self.register_outputs({})
