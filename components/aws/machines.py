"""AwsMachines: one instance per slot, which only a raised generation replaces."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from ..first_boot import user_data
from ..plan import aws_types
from ..plan.aws import DEFAULT_ROOT_SIZE
from ..plan.errors import Problem
from ..plan.origin import on_volume
from ..slots import CloudMachines, CloudMachinesArgs, CloudSlot, RunningMachineError
from .images import Images
from .network import AwsNetwork
from .server import METADATA, root_volume
from .tags import tags

# The API requires a device name. The guest finds the disk by the volume's ID.
_DEVICE_NAME = "/dev/sdf"
_DEVICE = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"


class AwsSlot(CloudSlot):
    """One slot of the cluster and its desired machine."""

    zone: str
    """Availability zone with a subnet of the network. It must not change during the life of the slot."""
    instance_type: str
    """Instance type, like `t3.medium`."""
    image: NotRequired[str]
    """`debian-12`, `ubuntu-24.04` or `al2023`. Default: `debian-12`."""
    ami: NotRequired[str]
    """ID of any other image. Default: the newest of `image` when the generation begins."""


class AwsVolume(TypedDict):
    """An encrypted volume per slot for etcd's data."""

    size: int
    """Size, in GiB."""
    type: NotRequired[str]
    """`gp3`, `io2`, `io1` or `gp2`. Default: `gp3`."""
    iops: NotRequired[int]
    """Operations per second. io1 and io2 need it. Default: 3000 with gp3."""
    throughput: NotRequired[int]
    """Throughput in MiB/s, with gp3. Default: 125."""
    kms_key_id: NotRequired[pulumi.Input[str]]
    """ARN of the key that encrypts volumes created from now on. Default: the account's for EBS."""
    protect: NotRequired[bool]
    """Whether Pulumi refuses to delete the volumes. Default: true."""


class AwsMachinesArgs(CloudMachinesArgs):
    """Arguments of `AwsMachines`. A public address is an Elastic IP. The slot keeps it when its machine is replaced."""

    slots: list[AwsSlot]
    """The slots. Changes go through them in this order."""
    volume: NotRequired[AwsVolume]
    """A volume per slot for etcd's data. Default: the root volume, which is deleted with its machine."""
    root_size: NotRequired[int]
    """Size of the encrypted root volume, in GiB. Default: 16."""
    instance_profile: NotRequired[pulumi.Input[str]]
    """Name of an instance profile: your own, or that of `AwsBackupBucket`. Default: none."""
    tags: NotRequired[dict[str, str]]
    """More tags. Default: none."""


class AwsMachines(CloudMachines):
    """One instance per slot, on a separate network interface that holds the fixed private address.

    Only a raised `generation` replaces or resizes a running machine. A `Stash` keeps image, type, zone, root volume and
    user data of each slot as they were when its generation began.

    Children per slot besides those of `CloudMachines`: `<name>-<slot>` (Instance, NetworkInterface, Eip with a public
    address, Volume and VolumeAttachment if there are volumes).

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy.
    """

    def __init__(
        self, name: str, network: AwsNetwork, args: AwsMachinesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("AwsMachines", name, args, args["slots"], opts, server_input="instanceId")
        self._check(_check(args, network), public=args.get("public_ipv4", True))
        self._args, self._network = args, network
        self._images = Images(self)
        for slot in args["slots"]:
            self._server(slot)
        self._close(network.ground)

    def _server(self, slot: AwsSlot) -> None:
        args, child = self._args, self._child(slot)
        cluster = args["cluster_name"]
        marked = tags(cluster, args.get("tags", {}), f"{cluster}-{slot['name']}", member=slot["name"])
        host_key = self._host_key(slot)
        made, first_boot = self._made_with(slot)
        # The address belongs to the interface and the interface to the slot, so both survive a replaced machine.
        interface = aws.ec2.NetworkInterface(
            child,
            subnet_id=pulumi.Output.all(made["zone"], self._network.subnet_ids).apply(lambda both: _subnet(*both)),
            private_ips=[made["address"]],
            security_groups=[self._network.members_group_id],
            description=f"{cluster}-{slot['name']}",
            tags=marked,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, depends_on=self._network.ready),
        )
        host: pulumi.Input[str] = slot["address"]
        if args.get("public_ipv4", True):
            public = aws.ec2.Eip(
                child,
                domain="vpc",
                network_interface=interface.id,
                tags=marked,
                opts=pulumi.ResourceOptions(parent=self),
            )
            host = public.public_ip
        server = aws.ec2.Instance(
            child,
            ami=made["ami"],
            instance_type=made["instance_type"],
            primary_network_interface=aws.ec2.InstancePrimaryNetworkInterfaceArgs(network_interface_id=interface.id),
            iam_instance_profile=args.get("instance_profile"),
            user_data=user_data(first_boot, host_key),
            # New user data mean a new generation. AWS alone would only stop and start the machine, with its old disk.
            user_data_replace_on_change=True,
            metadata_options=METADATA,
            root_block_device=root_volume(made["root_size"].apply(int), marked),
            tags=marked,
            # A type that was changed outside, and found by `refresh`, is not changed back: the provider would stop the
            # machine for it, and all machines at once.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, ignore_changes=["instanceType"]),
        )
        disk = self._volume(child, made["zone"], server, marked)
        machine = self._fill(
            slot,
            server,
            host,
            on_volume(self._network.origins[slot["zone"]], args["volume"]["size"] if "volume" in args else None),
            carriers=[interface, *([] if disk is None else disk[:1])],
        )
        if disk is not None:
            machine["data_device"] = disk[1]

    def _made_with(self, slot: AwsSlot) -> tuple[pulumi.Output[Any], pulumi.Output[Any]]:
        """The kept properties and first boot of the slot's machine."""
        wanted = {
            "address": slot["address"],
            # The newest image changes over time.
            "ami": self._images.id_of(
                slot.get("image", aws_types.DEFAULT_IMAGE), slot.get("ami"), slot["instance_type"]
            ),
            "instance_type": slot["instance_type"],
            "root_size": int(self._args.get("root_size", DEFAULT_ROOT_SIZE)),
            "zone": slot["zone"],
        }
        return self._kept(slot, wanted)

    def _volume(
        self, child: str, zone: pulumi.Output[str], server: aws.ec2.Instance, marked: Mapping[str, str]
    ) -> tuple[aws.ec2.VolumeAttachment, pulumi.Output[str]] | None:
        """The attachment of the slot's volume and the device's path on the machine; None without volumes."""
        wanted = self._args.get("volume")
        if wanted is None:
            return None
        volume = aws.ebs.Volume(
            child,
            availability_zone=zone,
            size=int(wanted["size"]),
            type=wanted.get("type", "gp3"),
            iops=None if "iops" not in wanted else int(wanted["iops"]),
            throughput=None if "throughput" not in wanted else int(wanted["throughput"]),
            encrypted=True,
            kms_key_id=wanted.get("kms_key_id"),
            tags=dict(marked),
            opts=self._volume_options(bool(wanted.get("protect", True)), ["availabilityZone", "kmsKeyId"]),
        )
        attachment = aws.ec2.VolumeAttachment(
            child,
            device_name=_DEVICE_NAME,
            volume_id=volume.id,
            instance_id=server.id,
            stop_instance_before_detaching=True,
            opts=self._attachment_options(server),
        )
        path = pulumi.Output.all(volume.id, attachment.id).apply(lambda both: _DEVICE + both[0].replace("-", ""))
        return attachment, path


def _check(args: AwsMachinesArgs, network: AwsNetwork) -> list[Problem]:
    problems = []
    if not args["slots"]:
        problems.append(Problem("slots", "nothing", "There must be at least one slot", "Set 3 or 5"))
    for slot in args["slots"]:
        if slot["zone"] not in network.subnet_ids:
            rule = f"The network has subnets in {', '.join(network.subnet_ids)} only"
            problems.append(Problem(f"slots.{slot['name']}.zone", slot["zone"], rule, "Choose one of these zones"))
    if "volume" in args:
        volume = args["volume"]
        wanted = aws_types.AwsVolume(
            volume["size"], volume.get("type", "gp3"), volume.get("iops"), volume.get("throughput")
        )
        problems += aws_types.check_volume(wanted, str)
    return problems


def _subnet(zone: str, subnets: Mapping[str, str]) -> str:
    """ID of a machine's subnet; raises RunningMachineError if the network no longer has its zone."""
    if zone not in subnets:
        rule = f"The zone of a machine must stay until the machine's generation is raised; there is one in {zone}"
        remedy = f"Keep {zone}, or move its slot to another zone first"
        raise RunningMachineError([Problem("subnets", ", ".join(subnets), rule, remedy)])
    return subnets[zone]
