"""AwsEtcdCluster: network, machines and cluster on AWS in one component."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, cast

import pulumi

from ..backup import ObjectLock
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
from ..plan.aws import AwsPlan
from ..plan.aws_arguments import SHARED, aws_plan, check_arguments, wanted_types
from ..plan.aws_zones import region_of
from ..plan.backup import PLACES
from .backup_bucket import AwsBackupBucket, AwsBackupBucketArgs
from .bastion import AwsBastion, AwsBastionArgs
from .key import AwsKey
from .machine_types import machine_type
from .machines import AwsMachines, AwsMachinesArgs, AwsSlot, AwsVolume
from .network import AwsNetwork, AwsNetworkArgs, AwsSubnet


class AwsClusterSlot(CloudClusterSlot):
    """One slot of the cluster and its desired machine."""

    zone: NotRequired[str]
    """Its availability zone. It must not change during the life of the slot. Default: by the number at the end of the
    name, counted through the zones."""
    instance_type: NotRequired[str]
    """Its instance type. Default: `instance_type` of the cluster."""
    image: NotRequired[str]
    """Its image. Default: `image` of the cluster."""
    ami: NotRequired[str]
    """Its image, by ID. Default: `ami` of the cluster."""


class AwsClusterSubnet(TypedDict):
    """The subnet of one zone."""

    zone: str
    """Availability zone, like `eu-central-1a`."""
    range: NotRequired[str]
    """Its range, /16 to /28; of an existing subnet, its actual one. Default: the part of the VPC's range with the
    number of the zone's letter, a /24 of a /16."""
    id: NotRequired[pulumi.Input[str]]
    """ID of an existing subnet, with `vpc_id`. Default: it is created."""


class AwsClusterBastion(TypedDict):
    """A small machine with a public address, through which the others are reached."""

    instance_type: NotRequired[str]
    """Its instance type. Default: `instance_type` of the cluster."""
    image: NotRequired[str]
    """`debian-12`, `ubuntu-24.04` or `al2023`. Default: `debian-12`."""
    ami: NotRequired[str]
    """ID of any other image. Default: the newest of `image` when the bastion is created."""
    subnet_id: NotRequired[pulumi.Input[str]]
    """Its subnet, with internet access; required with `vpc_id`. Default: one is created."""


class AwsClusterBucket(TypedDict):
    """A bucket for the snapshots, and an instance profile with which members write and do not delete."""

    name: str
    """Name of the bucket, unique among all buckets of AWS."""
    days: NotRequired[int]
    """After how many days a snapshot expires. Default: never."""
    old_version_days: NotRequired[int]
    """Days for which an overwritten, deleted or expired snapshot remains as an old version. Default: 30."""
    object_lock: NotRequired[ObjectLock]
    """How long nobody can delete a snapshot. A change applies to later snapshots. Default: none."""
    protect: NotRequired[bool]
    """Whether Pulumi refuses to remove the bucket from the stack. Default: true."""


class AwsEtcdClusterArgs(CloudClusterArgs):
    """Arguments of `AwsEtcdCluster`. All arguments of `EtcdCluster` but `members` belong to them, too."""

    slots: list[AwsClusterSlot]
    """The 1, 3, 5 or 7 slots. Changes go through them in this order."""
    instance_type: str
    """Instance type of the machines, like `t3.medium`."""
    operators: list[str]
    """Ranges from which ssh is allowed: to the machines, or to the created bastion. With an existing bastion, its
    private range."""
    zones: NotRequired[list[str]]
    """Availability zones of one region, preferably three. Each gets a subnet. Either this or `subnets` is required."""
    subnets: NotRequired[list[AwsClusterSubnet]]
    """The subnets, one per zone, if they exist or need fixed ranges. A subnet with a member cannot change."""
    vpc_range: NotRequired[str]
    """Range of the created VPC, /16 to /24. It cannot change later. Default: `10.2.0.0/16`."""
    vpc_id: NotRequired[pulumi.Input[str]]
    """An existing VPC, whose subnets are in `subnets`. It cannot change later. Default: one is created."""
    client_groups: NotRequired[list[str]]
    """IDs of security groups whose machines can reach port 2379, besides the group of `clients_security_group_id`.
    Default: none."""
    nat_gateway: NotRequired[bool]
    """Whether machines without public addresses reach the internet through a NAT gateway. Without it they need a
    `release_mirror`. Default: false."""
    bastion: NotRequired[AwsClusterBastion]
    """A small machine through which the others are reached. Default: none."""
    image: NotRequired[str]
    """`debian-12`, `ubuntu-24.04` or `al2023`: the newest when a machine's generation begins. Default: `debian-12`."""
    ami: NotRequired[str]
    """ID of any other image with systemd and cloud-init. Default: `image`."""
    volume: NotRequired[AwsVolume]
    """A volume per slot for etcd's data. Default: the root volume, which is deleted with its machine."""
    root_size: NotRequired[int]
    """Size of each encrypted root volume, in GiB. Default: 16."""
    instance_profile: NotRequired[pulumi.Input[str]]
    """Name of an existing instance profile. Default: none, or that of `backup_bucket`."""
    backup_bucket: NotRequired[AwsClusterBucket]
    """A bucket that is created for the snapshots of `backup`, which then has no place and no `keep`. Default: none."""
    tags: NotRequired[dict[str, str]]
    """More tags on everything. Default: none."""


class AwsEtcdCluster(CloudEtcdCluster):
    """An etcd cluster with its machines and network on AWS.

    Only a raised `generation` replaces or resizes a running machine, and before it is deleted, another member proves
    that the cluster tolerates its loss.

    Children: `<name>` (`AwsNetwork`, `AwsMachines`, `EtcdCluster`, and `AwsKey` without a key of your own),
    `<name>-bastion` (`AwsBastion`) and `<name>-backup` (`AwsBackupBucket`) if they are wanted.

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy, and its subclass
    `ChangeRefusedError` on a change that cannot be made in one update. Nothing is declared then.
    """

    vpc_id: pulumi.Output[str]
    """ID of the VPC."""
    subnet_ids: pulumi.Output[dict[str, str]]
    """Zone -> ID of its subnet."""
    members_security_group_id: pulumi.Output[str]
    """ID of the security group of the members."""
    clients_security_group_id: pulumi.Output[str]
    """ID of the security group whose machines can reach port 2379 of the members: that of your control planes."""

    def __init__(self, name: str, args: AwsEtcdClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args, plan = _checked(name, args, opts)
        super().__init__("AwsEtcdCluster", name, opts)
        parts = compose(name, args, plan, generations_before(args), pulumi.ResourceOptions(parent=self))
        network = parts.network
        self._fill(
            name,
            args,
            parts,
            bastion=plan.bastion is not None,
            more={
                "vpc_id": network.vpc_id,
                "subnet_ids": network.subnet_ids,
                "members_security_group_id": network.members_group_id,
                "clients_security_group_id": network.clients_group_id,
            },
        )

    @staticmethod
    def check(name: str, args: AwsEtcdClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises what the component with these arguments would raise, and declares nothing: as `check_cluster`."""
        _checked(name, args, opts)


def _checked(
    name: str, args: AwsEtcdClusterArgs, opts: pulumi.ResourceOptions | None
) -> tuple[AwsEtcdClusterArgs, AwsPlan]:
    """The arguments with their defaults, and the plan."""
    args = complete(name, args)
    plan = aws_plan(args["cluster_name"], args, through_another_bastion="bastion" in args.get("ssh", {}))
    problems = check_arguments(plan, args, settings(args))
    if plan.backup_bucket is not None and "backup" in args and not any(place in args["backup"] for place in PLACES):
        # With problems nothing is declared. Then the place of the snapshots must not add some.
        bucket, region = ("etcd", "eu-central-1") if problems else (plan.backup_bucket.name, _region(plan))
        args["backup"] = {**args["backup"], "s3": {"bucket": bucket, "region": region}}
    check_args(name, args, plan, problems, shared=SHARED, platform="aws")
    seller = Seller("AWS", lambda type_: machine_type(type_, asked(opts, "aws")))
    check_offer(args, plan, wanted_types(plan), seller)
    return args, plan


@dataclass(frozen=True)
class AwsParts(Parts):
    """The parts below a cluster on AWS."""

    network: AwsNetwork


def compose(
    name: str,
    args: Mapping[str, Any],
    plan: AwsPlan,
    before: Mapping[str, int],
    opts: pulumi.ResourceOptions | None = None,
) -> AwsParts:
    """Declares network, bastion, bucket and machines.

    Args:
        name: name of the cluster's component.
        args: the arguments of `AwsEtcdCluster`, without the cluster's.
        plan: their plan.
        before: slot -> generation in the last update; empty: not compared.
        opts: options of each part.
    """
    network = AwsNetwork(name, _network(plan), opts)
    operator = operator_args(args.get("ssh", {}), lambda: AwsKey(name, opts))
    bastion = _bastion(name, args.get("ssh", {}).get("bastion"), plan, network, operator, opts=opts)
    machines: AwsMachinesArgs = {
        **machines_args(args, plan, operator, bastion, before),  # type: ignore[typeddict-item]  # the rest is below
        "slots": _slots(plan),
        "root_size": plan.root_size,
        "tags": dict(plan.tags),
    }
    if "instance_profile" in args:
        machines["instance_profile"] = args["instance_profile"]
    if plan.backup_bucket is not None:
        machines["instance_profile"] = _bucket(f"{name}-backup", args, plan, opts).instance_profile
    if "volume" in args:
        machines["volume"] = args["volume"]
    return AwsParts(AwsMachines(name, network, machines, opts), operator, bastion, network)


def _network(plan: AwsPlan) -> AwsNetworkArgs:
    args: AwsNetworkArgs = {
        "cluster_name": plan.cluster,
        "subnets": [_subnet(each.zone, str(plan.ranges[each.zone]), each.id) for each in plan.subnets],
        # With a created bastion, ssh is allowed from that bastion only.
        "operators": [] if plan.bastion is not None else list(plan.operators),
        "vpc_range": plan.vpc_range,
        "internet": plan.public_ipv4,
        "nat_gateway": plan.nat_gateway,
        "clients": list(plan.clients),
        "client_groups": list(plan.client_groups),
        "metrics_clients": list(plan.metrics_clients),
        "tags": dict(plan.tags),
    }
    if plan.vpc_id is not None:
        args["vpc_id"] = cast(str, plan.vpc_id)
    if plan.edge_range is not None:
        args["edge_range"] = plan.edge_range
    return args


def _subnet(zone: str, range_: str, existing: Any) -> AwsSubnet:
    return {"zone": zone, "range": range_} if existing is None else {"zone": zone, "range": range_, "id": existing}


def _bastion(
    name: str,
    existing: Bastion | None,
    plan: AwsPlan,
    network: AwsNetwork,
    operator: OperatorArgs,
    *,
    opts: pulumi.ResourceOptions | None,
) -> Bastion | None:
    if existing is not None or plan.bastion is None:
        return existing
    wanted: AwsBastionArgs = {
        **operator,  # type: ignore[typeddict-item]  # what is optional is set below
        "cluster_name": plan.cluster,
        "instance_type": plan.bastion.instance_type,
        "subnet_id": cast(str | None, plan.bastion.subnet_id) or network.edge_subnet_id or "",
        "operators": list(plan.operators),
        "image": plan.bastion.image,
        "tags": dict(plan.tags),
    }
    if plan.bastion.ami is not None:
        wanted["ami"] = plan.bastion.ami
    return AwsBastion(f"{name}-bastion", network, wanted, opts).bastion


def _bucket(name: str, args: Mapping[str, Any], plan: AwsPlan, opts: pulumi.ResourceOptions | None) -> AwsBackupBucket:
    given = args["backup_bucket"]
    wanted: AwsBackupBucketArgs = {
        **{key: value for key, value in given.items() if key != "name"},  # type: ignore[typeddict-item]
        "cluster_name": plan.cluster,
        "bucket": given["name"],
        "region": _region(plan),
        "tags": dict(plan.tags),
    }
    return AwsBackupBucket(name, wanted, opts)


def _region(plan: AwsPlan) -> str:
    return plan.region or region_of(plan.zones[0]) or ""


def _slots(plan: AwsPlan) -> list[AwsSlot]:
    slots: list[AwsSlot] = []
    for slot in plan.slots:
        made: AwsSlot = {
            "name": slot.name,
            "address": plan.addresses[slot.name],
            "zone": plan.slot_zones[slot.name],
            "instance_type": slot.instance_type,
            "image": slot.image,
            "generation": slot.generation,
            "extra_names": list(slot.extra_names),
        }
        if slot.ami is not None:
            made["ami"] = slot.ami
        slots.append(made)
    return slots
