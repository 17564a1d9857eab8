"""HetznerBastion: machines without a public address are reached through it, and reach the internet through it."""

from typing import NotRequired

import pulumi
import pulumi_hcloud as hcloud

from ..first_boot import FOR_ROOT, OperatorArgs, made_bastion, operator_ssh, template, user_data
from ..machine import Bastion
from ..plan import cloud_init
from ..plan.hetzner import DEFAULT_IMAGE
from ..ssh_key import ssh_key
from .network import HetznerNetwork


class HetznerBastionArgs(OperatorArgs):
    """Arguments of `HetznerBastion`."""

    cluster_name: str
    """Name of the cluster: the server is `<cluster>-bastion`."""
    location: str
    """Location, in the zone of the subnet."""
    server_type: str
    """Server type. The smallest is enough."""
    address: str
    """Private address in the subnet."""
    network_range: str
    """Range of the network, whose machines reach the internet through the bastion."""
    image: NotRequired[str]
    """Image. Default: `debian-12`."""
    ssh_keys: NotRequired[list[pulumi.Input[str]]]
    """Names or IDs of ssh keys in the project. Without any, Hetzner mails a root password. Default: none."""
    labels: NotRequired[dict[str, str]]
    """More labels. Default: none."""


class HetznerBastion(pulumi.ComponentResource):
    """A small server with a public address in the cluster's network.

    Children: `<name>` (Server, its host key's PrivateKey, the network's default route) and `<name>-ssh`.
    """

    bastion: Bastion
    """`bastion` of the machines behind it."""

    def __init__(
        self, name: str, network: HetznerNetwork, args: HetznerBastionArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("external-etcd:index:HetznerBastion", name, None, opts)
        host_key = ssh_key(name, "the bastion's host key", self)
        units = FOR_ROOT | cloud_init.translation(args["network_range"])
        server = hcloud.Server(
            name,
            name=f"{args['cluster_name']}-bastion",
            server_type=args["server_type"],
            image=args.get("image", DEFAULT_IMAGE),
            location=args["location"],
            networks=[hcloud.ServerNetworkArgs(subnet_id=network.subnet_id, ip=args["address"], alias_ips=[])],
            public_nets=[hcloud.ServerPublicNetArgs(ipv4_enabled=True, ipv6_enabled=False)],
            firewall_ids=[network.firewall_id],
            ssh_keys=args.get("ssh_keys", []),
            labels={**args.get("labels", {}), "etcd": "true", "cluster": args["cluster_name"], "role": "bastion"},
            user_data=user_data(template(args, units, bastion=True), host_key),
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=True,
                ignore_changes=["image", "serverType", "location", "sshKeys", "userData"],
            ),
        )
        hcloud.NetworkRoute(
            name,
            network_id=network.network_id,
            destination="0.0.0.0/0",
            # After the server: Hetzner refuses a gateway that does not exist.
            gateway=server.id.apply(lambda _: args["address"]),
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.bastion = made_bastion(name, operator_ssh(args, server.ipv4_address, host_key), server, self)
        self.register_outputs({})
