"""The platform `aws`: network and machines made on AWS."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components import Bastion, EtcdCluster
from components.aws import (
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
from components.kubernetes import cluster_api
from components.machine import Login, login, with_login

from . import aws_config, hosts
from .aws_config import AwsConfig
from .config import StackConfig
from .outputs import cluster_args, cluster_outputs, machines_file
from .previous import allowed_generations


@dataclass(frozen=True)
class _Key:
    """The operator's key."""

    login: Login
    """With which one logs in."""
    public_key: pulumi.Input[str]


def build(stack: StackConfig, last: Mapping[str, Any]) -> dict[str, Any]:
    """Makes network, machines and cluster; returns the stack's outputs by name.

    Args:
        stack: the configuration.
        last: what the last update left in the output `generations`.

    Raises:
        ConfigError: the last update's generations do not allow these.
    """
    config = stack.aws
    if config is None:
        raise ValueError(f"the stack's platform is {stack.platform}")
    wanted = {slot.name: slot.generation for slot in config.plan.slots}
    before = allowed_generations(stack, last, wanted, f"{aws_config.KEY}.slots")
    name = stack.cluster_name
    network = AwsNetwork(name, _network_args(config))
    key = _key(name, config)
    bastion = _bastion(stack, config, network, key)
    machines = AwsMachines(name, network, _machines_args(stack, config, key, bastion, before))
    cluster = EtcdCluster(name, cluster_args(stack, machines.machines))
    outputs = cluster_outputs(stack, cluster)
    if config.plan.bastion is not None and bastion is not None:
        outputs["bastion"] = {"host": bastion["host"], "host_key": bastion["host_key"], "user": config.user}
    return {
        **outputs,
        "network_id": network.vpc_id,
        "subnets": {
            zone: {"id": network.subnet_ids[zone], "range": str(range_)} for zone, range_ in config.plan.ranges.items()
        },
        "clients_security_group": network.clients_group_id,
        "server_ids": machines.server_ids,
        "hosts": machines.hosts,
        "machines_file": machines_file(machines.machines),
        **({"ssh_private_key": key.login["private_key"]} if "private_key" in key.login else {}),
        "generations": machines.generations,
        "cluster_api_infrastructure": _infrastructure(stack, network),
    }


def _network_args(config: AwsConfig) -> AwsNetworkArgs:
    plan = config.plan
    args: AwsNetworkArgs = {
        "cluster_name": plan.cluster,
        "subnets": [_subnet(each.zone, str(plan.ranges[each.zone]), each.id) for each in plan.subnets],
        # Through a bastion that is made here, ssh comes from that, and from nowhere else.
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


def _key(name: str, config: AwsConfig) -> _Key:
    if config.public_key:
        return _Key(login(config.private_key or None, config.passphrase or None), config.public_key)
    made = AwsKey(name)
    return _Key(login(made.private_key, None), made.public_key)


def _bastion(stack: StackConfig, config: AwsConfig, network: AwsNetwork, key: _Key) -> Bastion | None:
    plan = config.plan
    if stack.bastion is not None:
        return hosts.bastion(stack.bastion)
    if plan.bastion is None:
        return None
    args: AwsBastionArgs = {
        "cluster_name": plan.cluster,
        "instance_type": plan.bastion.instance_type,
        "subnet_id": plan.bastion.subnet_id or network.edge_subnet_id or "",
        "operators": list(plan.operators),
        "public_key": key.public_key,
        "image": plan.bastion.image,
        "user": config.user,
        "tags": dict(plan.tags),
    }
    if plan.bastion.ami is not None:
        args["ami"] = plan.bastion.ami
    return AwsBastion(f"{stack.cluster_name}-bastion", network, with_login(args, key.login)).bastion


def _machines_args(
    stack: StackConfig, config: AwsConfig, key: _Key, bastion: Bastion | None, before: dict[str, int]
) -> AwsMachinesArgs:
    plan = config.plan
    args: AwsMachinesArgs = {
        "cluster_name": plan.cluster,
        "slots": _slots(config),
        "public_key": key.public_key,
        "user": config.user,
        "public_ipv4": plan.public_ipv4,
        "data_directory": stack.data_directory,
        "root_size": plan.root_size,
        "previous_generations": before,
        "tags": dict(plan.tags),
    }
    if bastion is not None:
        args["bastion"] = bastion
    if config.instance_profile is not None:
        args["instance_profile"] = config.instance_profile
    if plan.volume is not None:
        args["volume"] = _volume(config)
    return with_login(args, key.login)


def _slots(config: AwsConfig) -> list[AwsSlot]:
    plan = config.plan
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


def _volume(config: AwsConfig) -> AwsVolume:
    wanted = config.plan.volume
    if wanted is None:
        raise ValueError("there is no volume in the plan")
    volume: AwsVolume = {"size": wanted.size, "type": wanted.type, "protect": config.protect_volume}
    if wanted.iops is not None:
        volume["iops"] = wanted.iops
    if wanted.throughput is not None:
        volume["throughput"] = wanted.throughput
    if config.kms_key_id is not None:
        volume["kms_key_id"] = config.kms_key_id
    return volume


def _infrastructure(stack: StackConfig, network: AwsNetwork) -> pulumi.Output[str]:
    parts = pulumi.Output.all(
        vpc=network.vpc_id, subnets=list(network.subnet_ids.values()), group=network.clients_group_id
    )
    return parts.apply(
        lambda known: cluster_api.aws_cluster(
            stack.cluster_api.cluster_name,
            stack.cluster_api.namespace,
            vpc_id=known["vpc"],
            subnet_ids=known["subnets"],
            clients_group_id=known["group"],
        )
    )
