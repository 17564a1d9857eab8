"""The platform `hetzner`: network and machines made on Hetzner Cloud."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components import Bastion, EtcdCluster
from components.hetzner import (
    HetznerBastion,
    HetznerBastionArgs,
    HetznerKey,
    HetznerMachines,
    HetznerMachinesArgs,
    HetznerNetwork,
    HetznerNetworkArgs,
)
from components.kubernetes import cluster_api
from components.machine import Login, login, with_login
from components.plan.firewall import Firewall, member_rules
from components.plan.hetzner import HetznerPlan

from . import hetzner_config, hosts, way_in
from .config import StackConfig
from .hetzner_config import HetznerConfig
from .outputs import cluster_args, cluster_outputs, machines_file
from .previous import allowed_generations


@dataclass(frozen=True)
class _Key:
    """The operator's key."""

    login: Login
    """With which one logs in."""
    public_key: pulumi.Input[str]
    known_as: list[pulumi.Input[str]]
    """Names and IDs of keys in the project that Hetzner is told of."""


def build(stack: StackConfig, last: Mapping[str, Any]) -> dict[str, Any]:
    """Makes network, machines and cluster; returns the stack's outputs by name.

    Args:
        stack: the configuration.
        last: what the last update left in the output `generations`.

    Raises:
        ConfigError: the last update's generations do not allow these.
    """
    hetzner = stack.hetzner
    if hetzner is None:
        raise ValueError(f"the stack's platform is {stack.platform}")
    wanted = {slot.name: slot.generation for slot in hetzner.plan.slots}
    before = allowed_generations(stack, last, wanted, f"{hetzner_config.KEY}.slots")
    plan, name = hetzner.plan, stack.cluster_name
    network = HetznerNetwork(name, _network_args(hetzner))
    key = _key(name, hetzner)
    bastion = _bastion(stack, hetzner, network, key)
    machines = HetznerMachines(name, network, _machines_args(stack, hetzner, key, bastion, before))
    cluster = EtcdCluster(name, cluster_args(stack, machines.machines))
    outputs = cluster_outputs(stack, cluster)
    if (way := way_in.of(stack)) is not None:
        outputs[way_in.OUTPUT] = cluster.applied.apply(lambda _: way.data())
    if plan.bastion is not None and bastion is not None:
        outputs["bastion"] = {
            "host": bastion["host"],
            "host_key": bastion["host_key"],
            "user": hetzner.user,
        }
    return {
        **outputs,
        "network_id": network.network_id,
        "subnet": {"id": network.subnet_id, "range": plan.subnet_range, "zone": plan.zone},
        "server_ids": machines.server_ids,
        "hosts": machines.hosts,
        "machines_file": machines_file(machines.machines),
        **({"ssh_private_key": key.login["private_key"]} if "private_key" in key.login else {}),
        "generations": machines.generations,
        "cluster_api_infrastructure": cluster_api.hetzner_cluster(
            stack.cluster_api.cluster_name,
            stack.cluster_api.namespace,
            network_range=plan.network_range,
            subnet_range=plan.subnet_range,
            zone=plan.zone,
        ),
    }


def _network_args(hetzner: HetznerConfig) -> HetznerNetworkArgs:
    plan = hetzner.plan
    args: HetznerNetworkArgs = {
        "cluster_name": plan.cluster,
        "zone": plan.zone,
        "operators": list(plan.operators),
        "network_range": plan.network_range,
        "subnet_range": plan.subnet_range,
        "labels": dict(plan.labels),
    }
    if hetzner.network_id is not None:
        args["network_id"] = hetzner.network_id
    return args


def _key(name: str, hetzner: HetznerConfig) -> _Key:
    if hetzner.public_key:
        own = login(hetzner.private_key or None, hetzner.passphrase or None)
        # Not uploaded: Hetzner takes each key once per project, and two clusters may have the same operator.
        return _Key(own, hetzner.public_key, list(hetzner.ssh_keys))
    made = HetznerKey(name, {"cluster_name": hetzner.plan.cluster, "labels": dict(hetzner.plan.labels)})
    return _Key(login(made.private_key, None), made.public_key, [*hetzner.ssh_keys, made.key_id])


def _bastion(stack: StackConfig, hetzner: HetznerConfig, network: HetznerNetwork, key: _Key) -> Bastion | None:
    plan = hetzner.plan
    if stack.bastion is not None:
        return hosts.bastion(stack.bastion)
    if plan.bastion is None:
        return None
    args: HetznerBastionArgs = {
        "cluster_name": plan.cluster,
        "location": plan.bastion.location,
        "server_type": plan.bastion.server_type,
        "address": _bastion_address(plan),
        "network_range": plan.network_range,
        "public_key": key.public_key,
        "image": plan.bastion.image,
        "user": hetzner.user,
        "ssh_keys": key.known_as,
        "labels": dict(plan.labels),
    }
    return HetznerBastion(f"{stack.cluster_name}-bastion", network, with_login(args, key.login)).bastion


def _bastion_address(plan: HetznerPlan) -> str:
    return plan.bastion_address or ""


def _firewall(stack: StackConfig, plan: HetznerPlan) -> Firewall:
    """The rules of the machines themselves, which see private and public traffic alike."""
    way = way_in.of(stack)
    return member_rules(
        list(plan.addresses.values()),
        operators=[] if way is None else way.admitted,
        clients=plan.clients,
        metrics=plan.metrics_clients,
    )


def _machines_args(
    stack: StackConfig, hetzner: HetznerConfig, key: _Key, bastion: Bastion | None, before: dict[str, int]
) -> HetznerMachinesArgs:
    plan = hetzner.plan
    args: HetznerMachinesArgs = {
        "cluster_name": plan.cluster,
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
        "firewall": _firewall(stack, plan),
        "public_key": key.public_key,
        "user": hetzner.user,
        "ssh_keys": key.known_as,
        "public_ipv4": plan.public_ipv4,
        "public_ipv6": plan.public_ipv6,
        # Used by machines without a public address; whether the network knows a way out is its own affair.
        "default_gateway": plan.gateway,
        "data_directory": stack.data_directory,
        "previous_generations": before,
        "labels": dict(plan.labels),
    }
    if bastion is not None:
        args["bastion"] = bastion
    if plan.volume_size is not None:
        args["volume"] = {"size": plan.volume_size, "protect": hetzner.protect_volume}
    return with_login(args, key.login)
