"""HetznerMachines: one server per slot, replaced only when its generation is raised."""

from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_hcloud as hcloud
import pulumi_tls as tls

from ..first_boot import FOR_ROOT
from ..gate import gates
from ..irreplaceable import attachment_refusal, irreplaceable, volume_refusal
from ..kept import generation_name, kept
from ..machine import Bastion, CloudMachine, Machine, Ssh, login, with_login
from ..plan import cloud_init
from ..plan.errors import Problem, refuse
from ..plan.generations import check_generations
from ..plan.hetzner import DEFAULT_IMAGE, DEFAULT_USER, SPREAD_LIMIT
from ..plan.origin import hetzner_machine
from ..plan.spec import DEFAULT_DATA_DIRECTORY
from ..ssh_key import ssh_key
from ..wait_for_ssh import wait_for_ssh
from .network import HetznerNetwork


class HetznerSlot(TypedDict):
    """One slot of the cluster and the machine that is wanted in it."""

    name: str
    """Name of the slot: a DNS label, stable for the life of the slot. The server is `<cluster>-<slot>`."""
    address: str
    """Private address in the subnet, stable for the life of the slot."""
    location: str
    """Location, in the zone of the subnet."""
    server_type: str
    """Server type, such as `cax11`."""
    image: NotRequired[str]
    """Image, name or ID. Default: `debian-12`."""
    extra_names: NotRequired[list[str]]
    """DNS names and IP addresses that its certificates have beside its own. Default: none."""
    generation: NotRequired[int]
    """Raise it to have the machine replaced by one with the present image, type and user data. Default: 1."""


class HetznerVolume(TypedDict):
    """A volume per slot, for etcd's data."""

    size: int
    """Size, in GB: 10 to 10240."""
    protect: NotRequired[bool]
    """Pulumi refuses to delete the volumes until this is false. Default: true."""


class HetznerMachinesArgs(TypedDict):
    """Arguments of `HetznerMachines`."""

    cluster_name: str
    """Name of the cluster: part of all names, and the label `cluster`."""
    slots: list[HetznerSlot]
    """The slots, in the order in which changes go through them; at most 10."""
    firewall: dict[str, list[str]]
    """Port -> ranges that may reach it; the machines drop all else that comes to these ports."""
    private_key: NotRequired[pulumi.Input[str]]
    """The operator's private ssh key (secret); `HetznerKey` makes one. Default: those in the ssh agent of whoever runs
    Pulumi."""
    private_key_password: NotRequired[pulumi.Input[str]]
    """Its passphrase (secret). Default: it has none."""
    public_key: pulumi.Input[str]
    """Its public half, one line."""
    user: NotRequired[str]
    """The operator's login, made by cloud-init, with password-less sudo. Default: `etcd-operator`."""
    ssh_keys: NotRequired[list[pulumi.Input[str]]]
    """Names or IDs of keys in the project; without any, Hetzner mails a root password. Default: none."""
    public_ipv4: NotRequired[bool]
    """Whether machines have a public IPv4 address. Default: true."""
    public_ipv6: NotRequired[bool]
    """Whether machines have a public IPv6 address. Default: false."""
    bastion: NotRequired[Bastion]
    """The host through which machines are reached at their private address. Default: directly."""
    default_gateway: NotRequired[str]
    """The network's gateway, for machines without a public address that have a way out. Default: no way out."""
    data_directory: NotRequired[str]
    """Directory of etcd's data. Default: `/var/lib/etcd`."""
    volume: NotRequired[HetznerVolume]
    """A volume per slot for it. Default: the local disk."""
    previous_generations: NotRequired[dict[str, int]]
    """Slot -> generation in the last update that succeeded; more than one raised is refused. Default: not compared."""
    labels: NotRequired[dict[str, str]]
    """Further labels. Default: none."""


class HetznerMachines(pulumi.ComponentResource):
    """One server per slot, in one spread placement group, at fixed private addresses.

    Nothing replaces or resizes a running machine but a raised `generation`: image, type, place, addresses and user
    data of each slot are kept in a `Stash` from when its generation began.

    Children: `<name>` (PlacementGroup), and per slot `<name>-<slot>` (Server, PrivateKey of its host key, Volume and
    VolumeAttachment if there are volumes), `<name>-<slot>-generation-<n>` and `<name>-<slot>-generation-<n>-first-boot`
    (Stash), `<name>-<slot>-ssh` (a command that waits for its first boot) and `<name>-<slot>-gate` (one whose
    deletion asks the next slot's member whether the cluster tolerates the loss of the machine).

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy.
    """

    machines: list[Machine]
    """The slots as `EtcdCluster` takes them."""
    server_ids: pulumi.Output[dict[str, str]]
    """Slot -> ID of the server."""
    hosts: pulumi.Output[dict[str, str]]
    """Slot -> address at which the operator (or the bastion) reaches it."""
    generations: dict[str, int]
    """Slot -> generation, to be `previous_generations` of the next update."""

    def __init__(
        self,
        name: str,
        network: HetznerNetwork,
        args: HetznerMachinesArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("external-etcd:index:HetznerMachines", name, None, opts)
        refuse(_check(args))
        self._name, self._args, self._network = name, args, network
        self._cluster = args["cluster_name"]
        self._labels = {**args.get("labels", {}), "etcd": "true", "cluster": self._cluster}
        self._login = login(args.get("private_key"), args.get("private_key_password"))
        self._host_keys: dict[str, tls.PrivateKey] = {}
        self._volumes = irreplaceable(f"{name}-volumes-in-use", volume_refusal)
        self._attachments = irreplaceable(f"{name}-attachments-in-use", attachment_refusal, unless="serverId")
        self._group = hcloud.PlacementGroup(
            name,
            name=self._cluster,
            type="spread",
            labels=self._labels,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        servers = {slot["name"]: self._server(slot) for slot in args["slots"]}
        self.machines = [servers[slot["name"]][0] for slot in args["slots"]]
        instances = {slot: server for slot, (_, server) in servers.items()}
        gone_with = {slot: [server, *network.ground] for slot, server in instances.items()}
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

    def _server(self, slot: HetznerSlot) -> tuple[Machine, hcloud.Server]:
        slot_name = slot["name"]
        child = f"{self._name}-{slot_name}"
        host_key = ssh_key(child, f"the host key of {slot_name}", self)
        self._host_keys[slot_name] = host_key
        made, first_boot_kept = self._kept(child, slot)
        keys = pulumi.Output.all(host_key.private_key_openssh, host_key.public_key_openssh)
        first_boot: pulumi.Output[str] = pulumi.Output.secret(
            pulumi.Output.all(first_boot_kept, keys).apply(lambda both: cloud_init.user_data(both[0], *both[1]))
        )
        volume = self._volume(child, slot_name, made["location"])
        server = hcloud.Server(
            child,
            name=f"{self._cluster}-{slot_name}",
            server_type=made["server_type"],
            image=made["image"],
            location=made["location"],
            networks=[hcloud.ServerNetworkArgs(subnet_id=self._network.subnet_id, ip=made["address"], alias_ips=[])],
            public_nets=[
                hcloud.ServerPublicNetArgs(ipv4_enabled=made["public_ipv4"], ipv6_enabled=made["public_ipv6"])
            ],
            placement_group_id=self._group.id.apply(int),
            firewall_ids=pulumi.Output.all(made, self._network.firewall_id).apply(_firewalls),
            ssh_keys=self._args.get("ssh_keys", []),
            labels={**self._labels, "member": slot_name},
            user_data=first_boot,
            # etcd ends in order, and what it wrote is on its volume before that goes to the next machine.
            shutdown_before_deletion=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                # So that the server goes before its volume does.
                depends_on=[] if volume is None else [volume],
                # Name and address are taken until the old machine is gone.
                delete_before_replace=True,
                # Read when a server is made, and no reason to replace one.
                ignore_changes=["sshKeys"],
            ),
        )
        host: pulumi.Input[str] = slot["address"]
        bastion = self._args.get("bastion")
        if bastion is None:
            ipv4 = self._args.get("public_ipv4", True)
            host = server.ipv4_address if ipv4 else server.ipv6_address
        ssh: Ssh = {
            "host": host,
            "host_key": host_key.public_key_openssh,
            "user": self._args.get("user", DEFAULT_USER),
        }
        ssh = with_login(ssh, self._login)
        if bastion is not None:
            ssh["bastion"] = bastion
        ssh["host"] = wait_for_ssh(f"{child}-ssh", {**ssh}, host, server, self)
        machine: CloudMachine = {
            "name": slot_name,
            "address": slot["address"],
            "ssh": ssh,
            "identity": server.id,
            "generation": int(slot.get("generation", 1)),
            "data_directory": self._args.get("data_directory", DEFAULT_DATA_DIRECTORY),
            "extra_names": list(slot.get("extra_names", [])),
            "firewall": self._args["firewall"],
            "origin": hetzner_machine(
                self._network.origin,
                location=slot["location"],
                volume=self._args["volume"]["size"] if "volume" in self._args else None,
            ),
            "root_only": list(cloud_init.METADATA),
            "server": server,
        }
        if volume is not None:
            machine["data_device"] = self._attached(child, volume, server)
        return machine, server

    def _kept(self, child: str, slot: HetznerSlot) -> tuple[pulumi.Output[Any], pulumi.Output[Any]]:
        """What the machine of this slot is made with, and its first boot: as wanted when its generation began.

        Another generation is another Stash, which begins with what is wanted then.
        """
        args = self._args
        generation = int(slot.get("generation", 1))
        gateway = args.get("default_gateway")
        public = bool(args.get("public_ipv4", True) or args.get("public_ipv6", False))
        units = FOR_ROOT | ({} if gateway is None or public else cloud_init.default_route(gateway))
        # Public even where it came with a secret.
        first_boot = pulumi.Output.unsecret(pulumi.Output.from_input(args["public_key"])).apply(
            lambda key: cloud_init.template(args.get("user", DEFAULT_USER), [key.strip()], generation, units)
        )
        wanted = {
            "address": slot["address"],
            "image": slot.get("image", DEFAULT_IMAGE),
            "location": slot["location"],
            "public_ipv4": bool(args.get("public_ipv4", True)),
            "public_ipv6": bool(args.get("public_ipv6", False)),
            "server_type": slot["server_type"],
        }
        # Two, because the operator's key is unknown before the first update, and would hide the rest in its preview.
        stash = generation_name(child, generation)
        return kept(stash, wanted, self), kept(f"{stash}-first-boot", first_boot, self)

    def _volume(self, child: str, slot_name: str, location: pulumi.Output[str]) -> hcloud.Volume | None:
        """The volume of a slot; None without volumes."""
        wanted = self._args.get("volume")
        if wanted is None:
            return None
        return hcloud.Volume(
            child,
            name=f"{self._cluster}-{slot_name}",
            size=int(wanted["size"]),
            location=location,
            labels={**self._labels, "member": slot_name},
            opts=pulumi.ResourceOptions(
                parent=self,
                # The old one stays as it is when the hook refuses another one.
                delete_before_replace=False,
                hooks=pulumi.ResourceHookBinding(before_create=[self._volumes]),
                protect=bool(wanted.get("protect", True)),
                # A machine that is replaced somewhere else cannot take it along: that is said by Hetzner, and the
                # data are not thrown away for it.
                ignore_changes=["location"],
            ),
        )

    def _attached(self, child: str, volume: hcloud.Volume, server: hcloud.Server) -> pulumi.Output[str]:
        """Attaches the volume of a slot to its server; the device's path there."""
        attachment = hcloud.VolumeAttachment(
            child,
            volume_id=volume.id.apply(int),
            server_id=server.id.apply(int),
            automount=False,
            # Taken from a machine that still runs, it would be torn away. It comes off when the machine is deleted,
            # after the shutdown; before that machine Pulumi deletes it in any case.
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=False,
                deleted_with=server,
                retain_on_delete=True,
                hooks=pulumi.ResourceHookBinding(before_create=[self._attachments]),
            ),
        )
        return pulumi.Output.all(volume.linux_device, attachment.id).apply(lambda both: str(both[0]))


def _check(args: HetznerMachinesArgs) -> list[Problem]:
    problems = []
    slots = args["slots"]
    problems += check_generations(args.get("previous_generations", {}), _generations(args))
    if not 1 <= len(slots) <= SPREAD_LIMIT:
        rule = f"A spread placement group holds at most {SPREAD_LIMIT} servers, and there is at least one"
        problems.append(Problem("slots", f"{len(slots)} slots", rule, "State 3 or 5"))
    public = args.get("public_ipv4", True) or args.get("public_ipv6", False)
    if not public and "bastion" not in args:
        rule = "A machine without a public address is reached through a bastion"
        problems.append(Problem("bastion", "nothing", rule, "Give one, or a public address"))
    return problems


def _generations(args: HetznerMachinesArgs) -> dict[str, int]:
    return {slot["name"]: int(slot.get("generation", 1)) for slot in args["slots"]}


def _firewalls(parts: list[Any]) -> list[int]:
    """The firewall of the public side, for a machine that has one; Hetzner refuses it for any other."""
    made, firewall = parts
    return [int(firewall)] if made["public_ipv4"] or made["public_ipv6"] else []
