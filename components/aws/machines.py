"""AwsMachines: one instance per slot, replaced only when its generation is raised."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
import pulumi_tls as tls

from ..first_boot import FOR_ROOT
from ..gate import gates
from ..irreplaceable import attachment_refusal, irreplaceable, volume_refusal
from ..kept import generation_name, kept
from ..machine import Bastion, CloudMachine, Machine, Ssh, login, with_login
from ..plan import aws_types, cloud_init
from ..plan.aws import DEFAULT_ROOT_SIZE, DEFAULT_USER
from ..plan.errors import Problem, refuse
from ..plan.generations import check_generations
from ..plan.origin import on_volume
from ..plan.spec import DEFAULT_DATA_DIRECTORY
from ..ssh_key import ssh_key
from ..wait_for_ssh import wait_for_ssh
from .images import Images
from .network import AwsNetwork
from .server import METADATA, first_boot, root_volume
from .tags import tags

# What the API wants to hear; the guest finds the disk by the volume's ID.
_DEVICE_NAME = "/dev/sdf"
_DEVICE = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"


class AwsSlot(TypedDict):
    """One slot of the cluster and the machine that is wanted in it."""

    name: str
    """Name of the slot: a DNS label, stable for the life of the slot. The instance is `<cluster>-<slot>`."""
    address: str
    """Private address in the subnet of its zone, stable for the life of the slot."""
    zone: str
    """Availability zone, one that the network has a subnet in, stable for the life of the slot."""
    instance_type: str
    """Instance type, such as `t3.medium`."""
    image: NotRequired[str]
    """`debian-12`, `ubuntu-24.04` or `al2023`. Default: `debian-12`."""
    ami: NotRequired[str]
    """ID of any other image. Default: the newest of `image`, when the generation begins."""
    extra_names: NotRequired[list[str]]
    """DNS names and IP addresses that its certificates have beside its own. Default: none."""
    generation: NotRequired[int]
    """Raise it to have the machine replaced by one with the present image, type and user data. Default: 1."""


class AwsVolume(TypedDict):
    """A volume per slot, encrypted, for etcd's data."""

    size: int
    """Size, in GiB."""
    type: NotRequired[str]
    """`gp3`, `io2`, `io1` or `gp2`. Default: `gp3`."""
    iops: NotRequired[int]
    """Operations per second. Default: 3000 with gp3; io1 and io2 need it."""
    throughput: NotRequired[int]
    """MiB/s, with gp3. Default: 125."""
    kms_key_id: NotRequired[str]
    """ARN of the key that encrypts it, for volumes yet to be made. Default: the account's for EBS."""
    protect: NotRequired[bool]
    """Pulumi refuses to delete the volumes until this is false. Default: true."""


class AwsMachinesArgs(TypedDict):
    """Arguments of `AwsMachines`."""

    cluster_name: str
    """Name of the cluster: part of all names, and the tag `cluster`."""
    slots: list[AwsSlot]
    """The slots, in the order in which changes go through them."""
    private_key: NotRequired[pulumi.Input[str]]
    """The operator's private ssh key (secret); `AwsKey` makes one. Default: those in the ssh agent of whoever runs
    Pulumi."""
    private_key_password: NotRequired[pulumi.Input[str]]
    """Its passphrase (secret). Default: it has none."""
    public_key: pulumi.Input[str]
    """Its public half, one line."""
    user: NotRequired[str]
    """The operator's login, made by cloud-init, with password-less sudo. Default: `etcd-operator`."""
    public_ipv4: NotRequired[bool]
    """Whether machines have a public address of their own, which survives replacement. Default: true."""
    bastion: NotRequired[Bastion]
    """The host through which machines are reached at their private address. Default: directly."""
    data_directory: NotRequired[str]
    """Directory of etcd's data. Default: `/var/lib/etcd`."""
    volume: NotRequired[AwsVolume]
    """A volume per slot for it. Default: the root volume, which goes with its machine."""
    root_size: NotRequired[int]
    """Size of the encrypted root volume, in GiB. Default: 16."""
    instance_profile: NotRequired[str]
    """Name of an instance profile that exists; nothing here needs one. Default: none."""
    previous_generations: NotRequired[dict[str, int]]
    """Slot -> generation in the last update that succeeded; more than one raised is refused. Default: not compared."""
    tags: NotRequired[dict[str, str]]
    """Further tags. Default: none."""


class AwsMachines(pulumi.ComponentResource):
    """One instance per slot, each on a network interface of its own that holds the fixed private address.

    Nothing replaces or resizes a running machine but a raised `generation`: image, type, place, root volume and user
    data of each slot are kept in a `Stash` from when its generation began.

    Children per slot: `<name>-<slot>` (Instance, NetworkInterface, PrivateKey of its host key, Eip with a public
    address, Volume and VolumeAttachment if there are volumes), `<name>-<slot>-generation-<n>` and
    `<name>-<slot>-generation-<n>-first-boot` (Stash), `<name>-<slot>-ssh` (a command that waits for its first boot)
    and `<name>-<slot>-gate` (one whose deletion asks the next slot's member whether the cluster tolerates the loss of
    the machine).

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy.
    """

    machines: list[Machine]
    """The slots as `EtcdCluster` takes them."""
    server_ids: pulumi.Output[dict[str, str]]
    """Slot -> ID of the instance."""
    hosts: pulumi.Output[dict[str, str]]
    """Slot -> address at which the operator (or the bastion) reaches it."""
    generations: dict[str, int]
    """Slot -> generation, to be `previous_generations` of the next update."""

    def __init__(
        self, name: str, network: AwsNetwork, args: AwsMachinesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("external-etcd:index:AwsMachines", name, None, opts)
        refuse(_check(args, network))
        self._name, self._args, self._network = name, args, network
        self._cluster = args["cluster_name"]
        self._login = login(args.get("private_key"), args.get("private_key_password"))
        self._images = Images(self)
        self._host_keys: dict[str, tls.PrivateKey] = {}
        # Slot -> what cannot be replaced without its machine: its card, and what ties its volume to it.
        self._carriers: dict[str, list[pulumi.CustomResource]] = {}
        self._volumes = irreplaceable(f"{name}-volumes-in-use", volume_refusal)
        self._attachments = irreplaceable(f"{name}-attachments-in-use", attachment_refusal, unless="instanceId")
        servers = {slot["name"]: self._server(slot) for slot in args["slots"]}
        self.machines = [servers[slot["name"]][0] for slot in args["slots"]]
        instances = {slot: server for slot, (_, server) in servers.items()}
        gone_with = {slot: [server, *self._carriers[slot], *network.ground] for slot, server in instances.items()}
        gates(name, self.machines, gone_with, self._host_keys, self)
        self.server_ids = pulumi.Output.all(**{slot: instance.id for slot, instance in instances.items()})
        self.hosts = pulumi.Output.all(**{slot: machine["ssh"]["host"] for slot, (machine, _) in servers.items()})
        self.generations = _generations(args)
        self.register_outputs(
            {
                "server_ids": self.server_ids,
                "hosts": self.hosts,
                "generations": self.generations,
            }
        )

    def _server(self, slot: AwsSlot) -> tuple[Machine, aws.ec2.Instance]:
        args, slot_name = self._args, slot["name"]
        child = f"{self._name}-{slot_name}"
        marked = tags(self._cluster, args.get("tags", {}), f"{self._cluster}-{slot_name}", member=slot_name)
        options = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        host_key = ssh_key(child, f"the host key of {slot_name}", self)
        self._host_keys[slot_name] = host_key
        made, template = self._kept(child, slot)
        # The address belongs to the card, and the card to the slot: machines come and go on it.
        interface = aws.ec2.NetworkInterface(
            child,
            subnet_id=pulumi.Output.all(made["zone"], self._network.subnet_ids).apply(lambda both: _subnet(*both)),
            private_ips=[made["address"]],
            security_groups=[self._network.members_group_id],
            description=f"{self._cluster}-{slot_name}",
            tags=marked,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, depends_on=self._network.ready),
        )
        self._carriers[slot_name] = [interface]
        host: pulumi.Input[str] = slot["address"]
        if args.get("public_ipv4", True):
            public = aws.ec2.Eip(
                child,
                domain="vpc",
                network_interface=interface.id,
                tags=marked,
                opts=pulumi.ResourceOptions(parent=self),
            )
            host = host if "bastion" in args else public.public_ip
        server = aws.ec2.Instance(
            child,
            ami=made["ami"],
            instance_type=made["instance_type"],
            primary_network_interface=aws.ec2.InstancePrimaryNetworkInterfaceArgs(network_interface_id=interface.id),
            iam_instance_profile=args.get("instance_profile"),
            user_data=first_boot(template, host_key),
            # Another user data is another generation; AWS would stop and start the machine with the old disk.
            user_data_replace_on_change=True,
            metadata_options=METADATA,
            root_block_device=root_volume(made["root_size"].apply(int), marked),
            tags=marked,
            opts=options,
        )
        ssh: Ssh = {
            "host": host,
            "host_key": host_key.public_key_openssh,
            "user": args.get("user", DEFAULT_USER),
        }
        ssh = with_login(ssh, self._login)
        if "bastion" in args:
            ssh["bastion"] = args["bastion"]
        ssh["host"] = wait_for_ssh(f"{child}-ssh", {**ssh}, host, server, self)
        machine: CloudMachine = {
            "name": slot_name,
            "address": slot["address"],
            "ssh": ssh,
            "identity": server.id,
            "generation": int(slot.get("generation", 1)),
            "data_directory": args.get("data_directory", DEFAULT_DATA_DIRECTORY),
            "origin": on_volume(
                self._network.origins[slot["zone"]], args["volume"]["size"] if "volume" in args else None
            ),
            "root_only": list(cloud_init.METADATA),
            "extra_names": list(slot.get("extra_names", [])),
            "server": server,
        }
        device = self._volume(slot_name, made["zone"], server, marked)
        if device is not None:
            machine["data_device"] = device
        return machine, server

    def _kept(self, child: str, slot: AwsSlot) -> tuple[pulumi.Output[Any], pulumi.Output[Any]]:
        """What the machine of this slot is made with, and its first boot: as wanted when its generation began.

        Another generation is another Stash, which begins with what is wanted then.
        """
        args = self._args
        generation = int(slot.get("generation", 1))
        # Public even where it came with a secret.
        template = pulumi.Output.unsecret(pulumi.Output.from_input(args["public_key"])).apply(
            lambda key: cloud_init.template(args.get("user", DEFAULT_USER), [key.strip()], generation, FOR_ROOT)
        )
        wanted = {
            "address": slot["address"],
            # The newest image of today is not that of tomorrow.
            "ami": self._images.id_of(
                slot.get("image", aws_types.DEFAULT_IMAGE), slot.get("ami"), slot["instance_type"]
            ),
            "instance_type": slot["instance_type"],
            "root_size": int(args.get("root_size", DEFAULT_ROOT_SIZE)),
            "zone": slot["zone"],
        }
        # Two, because the operator's key is unknown before the first update, and would hide the rest in its preview.
        stash = generation_name(child, generation)
        return kept(stash, wanted, self), kept(f"{stash}-first-boot", template, self)

    def _volume(
        self, slot_name: str, zone: pulumi.Output[str], server: aws.ec2.Instance, marked: Mapping[str, str]
    ) -> pulumi.Output[str] | None:
        """The volume of a slot, attached to its machine: the device's path there; None without volumes."""
        wanted, child = self._args.get("volume"), f"{self._name}-{slot_name}"
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
            opts=pulumi.ResourceOptions(
                parent=self,
                # The old one stays as it is when the hook refuses another one.
                delete_before_replace=False,
                hooks=pulumi.ResourceHookBinding(before_create=[self._volumes]),
                protect=bool(wanted.get("protect", True)),
                # Each of these would be another volume, and the data are not thrown away for it.
                ignore_changes=["availabilityZone", "kmsKeyId"],
            ),
        )
        attachment = aws.ec2.VolumeAttachment(
            child,
            device_name=_DEVICE_NAME,
            volume_id=volume.id,
            instance_id=server.id,
            # Taken from a machine that still runs, it would be torn away; with the machine it goes after the shutdown.
            stop_instance_before_detaching=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=False,
                deleted_with=server,
                hooks=pulumi.ResourceHookBinding(before_create=[self._attachments]),
            ),
        )
        self._carriers[slot_name].append(attachment)
        return pulumi.Output.all(volume.id, attachment.id).apply(lambda both: _DEVICE + both[0].replace("-", ""))


def _check(args: AwsMachinesArgs, network: AwsNetwork) -> list[Problem]:
    problems = check_generations(args.get("previous_generations", {}), _generations(args))
    if not args["slots"]:
        problems.append(Problem("slots", "nothing", "There is at least one slot", "State 3 or 5"))
    for slot in args["slots"]:
        if slot["zone"] not in network.subnet_ids:
            rule = f"The network has subnets in {', '.join(network.subnet_ids)}"
            problems.append(Problem(f"slots.{slot['name']}.zone", slot["zone"], rule, "Choose one of these zones"))
    if "volume" in args:
        volume = args["volume"]
        wanted = aws_types.AwsVolume(
            volume["size"], volume.get("type", "gp3"), volume.get("iops"), volume.get("throughput")
        )
        problems += aws_types.check_volume(wanted, str)
    if not args.get("public_ipv4", True) and "bastion" not in args:
        rule = "A machine without a public address is reached through a bastion"
        problems.append(Problem("bastion", "nothing", rule, "Give one, or a public address"))
    return problems


def _subnet(zone: str, subnets: Mapping[str, str]) -> str:
    """ID of the subnet in which a machine is; raises PlanError when its zone was taken out of the network."""
    if zone not in subnets:
        rule = f"A machine stays in its zone until its generation is raised; there is one in {zone}"
        refuse([Problem("subnets", ", ".join(subnets), rule, f"Keep {zone}, or put its slot into another zone first")])
    return subnets[zone]


def _generations(args: AwsMachinesArgs) -> dict[str, int]:
    return {slot["name"]: int(slot.get("generation", 1)) for slot in args["slots"]}
