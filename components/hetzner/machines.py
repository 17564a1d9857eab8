"""HetznerMachines: one server per slot, which only a raised generation replaces."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_hcloud as hcloud

from ..first_boot import FOR_ROOT, user_data
from ..plan import cloud_init
from ..plan.errors import Problem
from ..plan.hetzner import DEFAULT_IMAGE, SPREAD_LIMIT, hetzner_machine
from ..slots import CloudMachines, CloudMachinesArgs, CloudSlot, RunningMachineError
from .network import HetznerNetwork


class HetznerSlot(CloudSlot):
    """One slot of the cluster and its desired machine."""

    location: str
    """Location, in the zone of the subnet."""
    server_type: str
    """Server type, like `cax11`."""
    image: NotRequired[str]
    """Image, name or ID. Default: `debian-12`."""


class HetznerVolume(TypedDict):
    """A volume per slot for etcd's data."""

    size: int
    """Size, in GB: 10 to 10240."""
    protect: NotRequired[bool]
    """Whether Pulumi refuses to delete the volumes. Default: true."""


class HetznerMachinesArgs(CloudMachinesArgs):
    """Arguments of `HetznerMachines`."""

    slots: list[HetznerSlot]
    """The slots, at most 10. Changes go through them in this order."""
    firewall: dict[str, list[str]]
    """Port -> ranges that can reach it. The machines drop other traffic to these ports."""
    ssh_keys: NotRequired[list[pulumi.Input[str]]]
    """Names or IDs of ssh keys in the project. Without any, Hetzner mails a root password. Default: none."""
    public_ipv6: NotRequired[bool]
    """Whether machines have a public IPv6 address. Default: false."""
    default_gateway: NotRequired[str]
    """The network's gateway, through which machines without a public address reach the internet. Default: none."""
    volume: NotRequired[HetznerVolume]
    """A volume per slot for etcd's data. Default: the local disk."""
    labels: NotRequired[dict[str, str]]
    """More labels. Default: none."""


class HetznerMachines(CloudMachines):
    """One server per slot, in one spread placement group, at fixed private addresses.

    Only a raised `generation` replaces or resizes a running machine. A `Stash` keeps image, type, location, addresses
    and user data of each slot as they were when its generation began.

    Children: `<name>` (PlacementGroup), and per slot besides those of `CloudMachines` `<name>-<slot>` (Server, Volume
    and VolumeAttachment if there are volumes).

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy.
    """

    def __init__(
        self, name: str, network: HetznerNetwork, args: HetznerMachinesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("HetznerMachines", name, args, args["slots"], opts, server_input="serverId")
        self._args, self._network = args, network
        self._ipv4, self._ipv6 = bool(args.get("public_ipv4", True)), bool(args.get("public_ipv6", False))
        self._check(_check(args), public=self._ipv4 or self._ipv6)
        self._cluster = args["cluster_name"]
        self._labels = {**args.get("labels", {}), "etcd": "true", "cluster": self._cluster}
        self._group = hcloud.PlacementGroup(
            name,
            name=self._cluster,
            type="spread",
            labels=self._labels,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        for slot in args["slots"]:
            self._server(slot)
        self._close(network.ground)

    def _server(self, slot: HetznerSlot) -> None:
        args, child = self._args, self._child(slot)
        host_key = self._host_key(slot)
        made, first_boot = self._made_with(slot)
        volume = self._volume(slot, made["location"])
        server = hcloud.Server(
            child,
            name=f"{self._cluster}-{slot['name']}",
            server_type=made["server_type"],
            image=made["image"],
            location=made["location"],
            networks=[hcloud.ServerNetworkArgs(subnet_id=self._network.subnet_id, ip=made["address"], alias_ips=[])],
            public_nets=[
                hcloud.ServerPublicNetArgs(ipv4_enabled=made["public_ipv4"], ipv6_enabled=made["public_ipv6"])
            ],
            placement_group_id=self._group.id.apply(int),
            firewall_ids=pulumi.Output.all(made, self._network.firewall_id).apply(_firewalls),
            ssh_keys=args.get("ssh_keys", []),
            labels={**self._labels, "member": slot["name"]},
            user_data=user_data(first_boot, host_key),
            # etcd stops cleanly, and its writes are on the volume before the volume moves to the next machine.
            shutdown_before_deletion=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                # So that the server is deleted before its volume.
                depends_on=[] if volume is None else [volume],
                # Name and address are in use until the old machine is gone.
                delete_before_replace=True,
                # Keys are only used when a server is created. The others are not changed back if they were changed
                # outside and `refresh` found it: that would power off all servers at once.
                ignore_changes=["sshKeys", "serverType", "placementGroupId", "publicNets"],
            ),
        )
        machine = self._fill(
            slot,
            server,
            made.apply(lambda known: self._public_address(slot, known, server)),
            hetzner_machine(
                self._network.origin,
                location=slot["location"],
                volume=args["volume"]["size"] if "volume" in args else None,
            ),
        )
        machine["firewall"] = args["firewall"]
        if volume is not None:
            machine["data_device"] = self._attached(child, volume, server)

    def _public_address(self, slot: HetznerSlot, made: Mapping[str, Any], server: hcloud.Server) -> pulumi.Output[str]:
        """The server's public address; raises RunningMachineError if it has none and there is no bastion."""
        family = "public_ipv4" if self._ipv4 else "public_ipv6"
        if "bastion" not in self._args and not made[family]:
            rule = f"The machine of {slot['name']} was created without a public address, so only a bastion reaches it"
            remedy = "Keep the bastion, and raise the generations one after another; then remove it"
            raise RunningMachineError([Problem("bastion", "nothing", rule, remedy)])
        return server.ipv4_address if self._ipv4 else server.ipv6_address

    def _made_with(self, slot: HetznerSlot) -> tuple[pulumi.Output[Any], pulumi.Output[Any]]:
        """The kept properties and first boot of the slot's machine."""
        gateway = self._args.get("default_gateway")
        no_way_out = gateway is None or self._ipv4 or self._ipv6
        wanted = {
            "address": slot["address"],
            "image": slot.get("image", DEFAULT_IMAGE),
            "location": slot["location"],
            "public_ipv4": self._ipv4,
            "public_ipv6": self._ipv6,
            "server_type": slot["server_type"],
        }
        return self._kept(slot, wanted, FOR_ROOT | ({} if no_way_out else cloud_init.default_route(str(gateway))))

    def _volume(self, slot: HetznerSlot, location: pulumi.Output[str]) -> hcloud.Volume | None:
        """The volume of a slot; None without volumes."""
        wanted = self._args.get("volume")
        if wanted is None:
            return None
        return hcloud.Volume(
            self._child(slot),
            name=f"{self._cluster}-{slot['name']}",
            size=int(wanted["size"]),
            location=location,
            labels={**self._labels, "member": slot["name"]},
            # It cannot follow a machine to another location: Hetzner refuses that.
            opts=self._volume_options(bool(wanted.get("protect", True)), ["location"]),
        )

    def _attached(self, child: str, volume: hcloud.Volume, server: hcloud.Server) -> pulumi.Output[str]:
        """Attaches the volume of a slot to its server; returns the device's path there."""
        attachment = hcloud.VolumeAttachment(
            child,
            volume_id=volume.id.apply(int),
            server_id=server.id.apply(int),
            automount=False,
            # Pulumi would delete the attachment before the machine in any case.
            opts=self._attachment_options(server, retain=True),
        )
        return pulumi.Output.all(volume.linux_device, attachment.id).apply(lambda both: str(both[0]))


def _check(args: HetznerMachinesArgs) -> list[Problem]:
    slots = args["slots"]
    if 1 <= len(slots) <= SPREAD_LIMIT:
        return []
    rule = f"There must be at least one slot, and a spread placement group holds at most {SPREAD_LIMIT} servers"
    return [Problem("slots", f"{len(slots)} slots", rule, "Set 3 or 5")]


def _firewalls(parts: list[Any]) -> list[int]:
    """The public firewall, for a machine with a public address. Hetzner refuses it for others."""
    made, firewall = parts
    return [int(firewall)] if made["public_ipv4"] or made["public_ipv6"] else []
