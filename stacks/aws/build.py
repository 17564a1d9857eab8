"""Builds network, machines and cluster on AWS."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components import Bastion
from components.aws import (
    AwsBackupBucket,
    AwsBackupBucketArgs,
    AwsBastion,
    AwsBastionArgs,
    AwsKey,
    AwsMachines,
    AwsMachinesArgs,
    AwsNetwork,
    AwsNetworkArgs,
    AwsSlot,
    AwsSubnet,
    AwsVolume,
)
from components.first_boot import OperatorArgs
from components.kubernetes import cluster_api
from components.plan import aws_types
from components.plan.aws import AwsPlan
from components.plan.aws_bucket import AwsBucket

from ..clouds.build import machines_args, operator_args, outputs
from ..config import StackConfig
from .config import AwsConfig


def build(stack: StackConfig, config: AwsConfig, before: Mapping[str, int]) -> dict[str, Any]:
    """Builds network, machines and cluster; arguments and result as in `Platform.build`."""
    plan, name = config.plan, stack.cluster_name
    network = AwsNetwork(name, _network_args(plan))
    operator = operator_args(config.operator, lambda: AwsKey(name))
    bastion = _bastion(name, config, network, operator)
    args: AwsMachinesArgs = {
        **machines_args(config, operator, bastion, before),  # type: ignore[typeddict-item]  # what is optional is set below
        "slots": _slots(plan),
        "root_size": plan.root_size,
        "tags": dict(plan.tags),
    }
    if config.instance_profile is not None:
        args["instance_profile"] = config.instance_profile
    if config.bucket is not None:
        args["instance_profile"] = _bucket(f"{name}-backup", config, config.bucket).instance_profile
    if plan.volume is not None:
        args["volume"] = _volume(config, plan.volume)
    machines = AwsMachines(name, network, args)
    return {
        **outputs(stack, config, machines, operator, bastion),
        "network_id": network.vpc_id,
        "subnets": {
            zone: {"id": network.subnet_ids[zone], "range": str(range_)} for zone, range_ in plan.ranges.items()
        },
        "clients_security_group": network.clients_group_id,
        "cluster_api_infrastructure": _infrastructure(stack, network, public=plan.public_ipv4),
    }


def _network_args(plan: AwsPlan) -> AwsNetworkArgs:
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
        args["vpc_id"] = plan.vpc_id
    if plan.edge_range is not None:
        args["edge_range"] = plan.edge_range
    return args


def _subnet(zone: str, range_: str, existing: str | None) -> AwsSubnet:
    return {"zone": zone, "range": range_} if existing is None else {"zone": zone, "range": range_, "id": existing}


def _bastion(name: str, config: AwsConfig, network: AwsNetwork, operator: OperatorArgs) -> Bastion | None:
    plan = config.plan
    if config.operator.bastion is not None:
        return config.operator.bastion.to_bastion
    if plan.bastion is None:
        return None
    args: AwsBastionArgs = {
        **operator,  # type: ignore[typeddict-item]  # what is optional is set below
        "cluster_name": plan.cluster,
        "instance_type": plan.bastion.instance_type,
        "subnet_id": plan.bastion.subnet_id or network.edge_subnet_id or "",
        "operators": list(plan.operators),
        "image": plan.bastion.image,
        "tags": dict(plan.tags),
    }
    if plan.bastion.ami is not None:
        args["ami"] = plan.bastion.ami
    return AwsBastion(f"{name}-bastion", network, args).bastion


def _bucket(name: str, config: AwsConfig, wanted: AwsBucket) -> AwsBackupBucket:
    args: AwsBackupBucketArgs = {
        "cluster_name": config.plan.cluster,
        "bucket": wanted.name,
        "region": config.store["region"],
        "old_version_days": wanted.old_version_days,
        "protect": config.protect_bucket,
        "tags": dict(config.plan.tags),
    }
    if wanted.days is not None:
        args["days"] = wanted.days
    if wanted.object_lock is not None:
        args["object_lock"] = {"mode": wanted.object_lock.mode, "days": wanted.object_lock.days}
    return AwsBackupBucket(name, args)


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


def _volume(config: AwsConfig, wanted: aws_types.AwsVolume) -> AwsVolume:
    volume: AwsVolume = {"size": wanted.size, "type": wanted.type, "protect": config.protect_volume}
    if wanted.iops is not None:
        volume["iops"] = wanted.iops
    if wanted.throughput is not None:
        volume["throughput"] = wanted.throughput
    if config.kms_key_id is not None:
        volume["kms_key_id"] = config.kms_key_id
    return volume


def _infrastructure(stack: StackConfig, network: AwsNetwork, *, public: bool) -> pulumi.Output[str]:
    parts = pulumi.Output.all(
        vpc=network.vpc_id, subnets=list(network.subnet_ids.values()), group=network.clients_group_id
    )
    return parts.apply(
        lambda known: cluster_api.text(
            *cluster_api.aws_cluster(
                stack.cluster_api.cluster_name,
                stack.cluster_api.namespace,
                vpc_id=known["vpc"],
                subnet_ids=known["subnets"],
                clients_group_id=known["group"],
                public=public,
            )
        )
    )
