"""HetznerEtcdCluster: network, machines and cluster on Hetzner Cloud in one component."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, cast

import pulumi

from ..cloud_cluster import (
    CloudClusterArgs,
    CloudClusterSlot,
    CloudEtcdCluster,
    Parts,
    asked,
    check_args,
    check_offer,
    complete,
    generations_before,
    machines_args,
    operator_args,
    settings,
)
from ..first_boot import OperatorArgs
from ..machine import Bastion
from ..machine_types import Seller
from ..plan import ClusterPlan
from ..plan.errors import Problem, refuse
from ..plan.firewall_rules import Firewall, member_rules
from ..plan.hetzner import HetznerPlan
from ..plan.hetzner_arguments import SHARED, check_arguments, hetzner_plan, wanted_types
from ..plan.hetzner_ssh import SshAccess, check_ssh_access, read_ssh_access, ssh_access
from .bastion import HetznerBastion, HetznerBastionArgs
from .key import HetznerKey
from .machine_types import machine_type
from .machines import HetznerMachines, HetznerMachinesArgs, HetznerVolume
from .network import HetznerNetwork, HetznerNetworkArgs

_SSH_ACCESS = "ssh_access"
"""The key in `applied` of how ssh reached the machines."""
_Keys = list[pulumi.Input[str]]
"""Names and IDs of ssh keys in the Hetzner project."""


class HetznerClusterSlot(CloudClusterSlot):
    """One slot of the cluster and its desired machine."""

    location: NotRequired[str]
    """Its location, in the same network zone. Default: `location` of the cluster."""
    server_type: NotRequired[str]
    """Its server type. Default: `server_type` of the cluster."""
    image: NotRequired[str]
    """Its image. Default: `image` of the cluster."""


class HetznerClusterBastion(TypedDict):
    """A small server with a public address, through which the others are reached, and reach the internet."""

    server_type: NotRequired[str]
    """Its server type. Default: `server_type` of the cluster."""
    image: NotRequired[str]
    """Its image. Default: `debian-12`."""
    location: NotRequired[str]
    """Its location. Default: `location` of the cluster."""
    address: NotRequired[str]
    """Its private address. Default: the subnet's fifth."""


class HetznerEtcdClusterArgs(CloudClusterArgs):
    """Arguments of `HetznerEtcdCluster`. All arguments of `EtcdCluster` but `members` belong to them, too."""

    slots: list[HetznerClusterSlot]
    """The 1, 3, 5 or 7 slots. Changes go through them in this order."""
    location: str
    """Location of the machines: `fsn1`, `nbg1`, `hel1`, `ash`, `hil` or `sin`."""
    server_type: str
    """Server type of the machines, like `cax11`."""
    operators: NotRequired[list[str]]
    """Ranges from which ssh is allowed: to the machines, or to the created bastion. With an existing bastion, its
    private range. Required without an existing bastion."""
    image: NotRequired[str]
    """Image, name or ID, with systemd and cloud-init. Default: `debian-12`."""
    network_range: NotRequired[str]
    """Range of the private network, /24 or larger. It cannot change later. Default: `10.1.0.0/16`."""
    network_id: NotRequired[pulumi.Input[int]]
    """ID of an existing network, in which the subnet is created. It cannot change later. Default: one is created."""
    subnet_range: NotRequired[str]
    """Range of the subnet, inside the range of the network, /28 or larger. It cannot change later. Default:
    `10.1.1.0/24`."""
    public_ipv6: NotRequired[bool]
    """Whether machines have a public IPv6 address. Default: false."""
    bastion: NotRequired[HetznerClusterBastion]
    """A small server through which the others are reached. Default: none."""
    volume: NotRequired[HetznerVolume]
    """A volume per slot for etcd's data. Default: the local disk."""
    ssh_keys: NotRequired[list[pulumi.Input[str]]]
    """Names or IDs of ssh keys in the project, for the creation of servers. With a key of your own in `ssh` and none
    here, Hetzner mails a root password. Default: the created key."""
    labels: NotRequired[dict[str, str]]
    """More labels on everything. Default: none."""


class HetznerEtcdCluster(CloudEtcdCluster):
    """An etcd cluster with its machines and network on Hetzner Cloud.

    Only a raised `generation` replaces or resizes a running machine, and before it is deleted, another member proves
    that the cluster tolerates its loss.

    Children: `<name>` (`HetznerNetwork`, `HetznerMachines`, `EtcdCluster`, and `HetznerKey` without a key of your own)
    and `<name>-bastion` (`HetznerBastion`) if it is wanted.

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy, and its subclass
    `ChangeRefusedError` on a change that cannot be made in one update. Nothing is declared then.
    """

    network_id: pulumi.Output[int]
    """ID of the network."""
    subnet_id: pulumi.Output[str]
    """ID of the subnet."""
    firewall_id: pulumi.Output[int]
    """ID of the firewall of the machines' public addresses."""

    def __init__(self, name: str, args: HetznerEtcdClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args, plan, cluster = _checked(name, args, opts)
        super().__init__("HetznerEtcdCluster", name, opts)
        below = pulumi.ResourceOptions(parent=self)
        parts = compose(name, args, plan, generations_before(args), below, machine_metrics=cluster.machine_metrics)
        network = parts.network
        self._fill(
            name,
            args,
            parts,
            bastion=plan.bastion is not None,
            more={
                "network_id": network.network_id,
                "subnet_id": network.subnet_id,
                "firewall_id": network.firewall_id,
            },
            applied={_SSH_ACCESS: ssh_way(args, plan).data()},
        )

    @staticmethod
    def check(name: str, args: HetznerEtcdClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises what the component with these arguments would raise, and declares nothing: as `check_cluster`."""
        _checked(name, args, opts)


def _checked(
    name: str, args: HetznerEtcdClusterArgs, opts: pulumi.ResourceOptions | None
) -> tuple[HetznerEtcdClusterArgs, HetznerPlan, ClusterPlan]:
    """The arguments with their defaults, and the plans of machines and cluster."""
    args = complete(name, args)
    plan = hetzner_plan(args["cluster_name"], args, through_another_bastion="bastion" in args.get("ssh", {}))
    cluster = check_args(name, args, plan, check_arguments(plan, settings(args)), shared=SHARED, platform="hetzner")
    refuse(_check_way(args, plan))
    seller = Seller("Hetzner", lambda type_: machine_type(type_, asked(opts, "hcloud")))
    check_offer(args, plan, wanted_types(plan), seller)
    return args, plan, cluster


@dataclass(frozen=True)
class HetznerParts(Parts):
    """The parts below a cluster on Hetzner Cloud."""

    network: HetznerNetwork


def ssh_way(args: Mapping[str, Any], plan: HetznerPlan) -> SshAccess:
    """How ssh reaches the machines, and from where they admit it."""
    host = args.get("ssh", {}).get("bastion", {}).get("host", "")
    return ssh_access(plan, host if isinstance(host, str) else "a bastion whose host is not known yet")


def _check_way(args: HetznerEtcdClusterArgs, plan: HetznerPlan) -> list[Problem]:
    """Why the machines, as the last update left them, would refuse ssh from this update."""
    before = (args.get("previous") or {}).get(_SSH_ACCESS)
    if not before:
        return []
    return check_ssh_access(read_ssh_access(before), plan, ssh_way(args, plan), "bastion", "operators")


def compose(
    name: str,
    args: Mapping[str, Any],
    plan: HetznerPlan,
    before: Mapping[str, int],
    opts: pulumi.ResourceOptions | None = None,
    *,
    machine_metrics: bool,
) -> HetznerParts:
    """Declares network, bastion and machines.

    Args:
        name: name of the cluster's component.
        args: the arguments of `HetznerEtcdCluster`, without the cluster's.
        plan: their plan.
        before: slot -> generation in the last update; empty: not compared.
        opts: options of each part.
        machine_metrics: whether machines serve metrics of their own.
    """
    network = HetznerNetwork(name, _network(plan), opts)
    keys: _Keys = [*args.get("ssh_keys", ())]

    def made_key() -> HetznerKey:
        made = HetznerKey(name, {"cluster_name": plan.cluster, "labels": dict(plan.labels)}, opts)
        # The user's own key is not uploaded: a project accepts each key once, and clusters may share an operator.
        keys.append(made.key_id)
        return made

    operator = operator_args(args.get("ssh", {}), made_key)
    bastion = _bastion(name, args.get("ssh", {}).get("bastion"), plan, network, operator, keys=keys, opts=opts)
    machines: HetznerMachinesArgs = {
        **machines_args(args, plan, operator, bastion, before),  # type: ignore[typeddict-item]  # the rest is below
        "slots": [
            {
                "name": slot.name,
                "address": plan.addresses[slot.name],
                "location": slot.location,
                "server_type": slot.server_type,
                "image": slot.image,
                "generation": slot.generation,
                "extra_names": list(slot.extra_names),
            }
            for slot in plan.slots
        ],
        "firewall": _firewall(args, plan, machine_metrics=machine_metrics),
        "ssh_keys": keys,
        "public_ipv6": plan.public_ipv6,
        # Only machines without a public address use it. The network may have no route to the internet.
        "default_gateway": plan.gateway,
        "labels": dict(plan.labels),
    }
    if "volume" in args:
        machines["volume"] = args["volume"]
    return HetznerParts(HetznerMachines(name, network, machines, opts), operator, bastion, network)


def _network(plan: HetznerPlan) -> HetznerNetworkArgs:
    args: HetznerNetworkArgs = {
        "cluster_name": plan.cluster,
        "zone": plan.zone,
        "operators": list(plan.operators),
        "network_range": plan.network_range,
        "subnet_range": plan.subnet_range,
        "labels": dict(plan.labels),
    }
    if plan.network_id is not None:
        args["network_id"] = cast(int, plan.network_id)
    return args


def _bastion(
    name: str,
    existing: Bastion | None,
    plan: HetznerPlan,
    network: HetznerNetwork,
    operator: OperatorArgs,
    *,
    keys: _Keys,
    opts: pulumi.ResourceOptions | None,
) -> Bastion | None:
    if existing is not None or plan.bastion is None:
        return existing
    wanted: HetznerBastionArgs = {
        **operator,
        "cluster_name": plan.cluster,
        "location": plan.bastion.location,
        "server_type": plan.bastion.server_type,
        "address": plan.bastion_address or "",
        "network_range": plan.network_range,
        "image": plan.bastion.image,
        "ssh_keys": keys,
        "labels": dict(plan.labels),
    }
    return HetznerBastion(f"{name}-bastion", network, wanted, opts).bastion


def _firewall(args: Mapping[str, Any], plan: HetznerPlan, *, machine_metrics: bool) -> Firewall:
    """The machines' own firewall, which filters private and public traffic."""
    return member_rules(
        list(plan.addresses.values()),
        operators=ssh_way(args, plan).admitted,
        clients=plan.clients,
        metrics=plan.metrics_clients,
        machine_metrics=machine_metrics,
    )
