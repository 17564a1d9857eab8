"""Builds network, machines and cluster on Hetzner Cloud."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components import Bastion
from components.first_boot import OperatorArgs
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
from components.plan.firewall_rules import Firewall, member_rules
from components.plan.hetzner import HetznerPlan

from ..clouds.build import machines_args, operator_args, outputs
from ..config import StackConfig
from . import ssh_access
from .config import HetznerConfig

_Keys = list[pulumi.Input[str]]
"""Names and IDs of ssh keys in the Hetzner project."""


def build(stack: StackConfig, config: HetznerConfig, before: Mapping[str, int]) -> dict[str, Any]:
    """Builds network, machines and cluster; arguments and result as in `Platform.build`."""
    plan, name = config.plan, stack.cluster_name
    network = HetznerNetwork(name, _network_args(plan))
    keys: _Keys = [*config.ssh_keys]

    def made_key() -> HetznerKey:
        made = HetznerKey(name, {"cluster_name": plan.cluster, "labels": dict(plan.labels)})
        # The user's own key is not uploaded: a project accepts each key once, and clusters may share an operator.
        keys.append(made.key_id)
        return made

    operator = operator_args(config.operator, made_key)
    bastion = _bastion(name, config, network, operator, keys)
    args: HetznerMachinesArgs = {
        **machines_args(config, operator, bastion, before),  # type: ignore[typeddict-item]  # what is optional is set below
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
        "firewall": _firewall(config, machine_metrics=stack.plan.machine_metrics),
        "ssh_keys": keys,
        "public_ipv6": plan.public_ipv6,
        # Only machines without a public address use it. The network may have no route to the internet.
        "default_gateway": plan.gateway,
        "labels": dict(plan.labels),
    }
    if plan.volume_size is not None:
        args["volume"] = {"size": plan.volume_size, "protect": config.protect_volume}
    machines = HetznerMachines(name, network, args)
    found = outputs(stack, config, machines, operator, bastion)
    way = ssh_access.of(plan, config.operator).data()
    return {
        **found,
        # Resolves after the machines have these rules.
        ssh_access.OUTPUT: found["applied"].apply(lambda _: way),
        "network_id": network.network_id,
        "subnet": {"id": network.subnet_id, "range": plan.subnet_range, "zone": plan.zone},
        "cluster_api_infrastructure": cluster_api.text(
            *cluster_api.hetzner_cluster(
                stack.cluster_api.cluster_name,
                stack.cluster_api.namespace,
                network_range=plan.network_range,
                subnet_range=plan.subnet_range,
                zone=plan.zone,
            )
        ),
    }


def _network_args(plan: HetznerPlan) -> HetznerNetworkArgs:
    args: HetznerNetworkArgs = {
        "cluster_name": plan.cluster,
        "zone": plan.zone,
        "operators": list(plan.operators),
        "network_range": plan.network_range,
        "subnet_range": plan.subnet_range,
        "labels": dict(plan.labels),
    }
    if plan.network_id is not None:
        args["network_id"] = plan.network_id
    return args


def _bastion(
    name: str, config: HetznerConfig, network: HetznerNetwork, operator: OperatorArgs, keys: _Keys
) -> Bastion | None:
    plan = config.plan
    if config.operator.bastion is not None:
        return config.operator.bastion.to_bastion
    if plan.bastion is None:
        return None
    args: HetznerBastionArgs = {
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
    return HetznerBastion(f"{name}-bastion", network, args).bastion


def _firewall(config: HetznerConfig, *, machine_metrics: bool) -> Firewall:
    """The machines' own firewall, which filters private and public traffic."""
    plan = config.plan
    return member_rules(
        list(plan.addresses.values()),
        operators=ssh_access.of(plan, config.operator).admitted,
        clients=plan.clients,
        metrics=plan.metrics_clients,
        machine_metrics=machine_metrics,
    )
