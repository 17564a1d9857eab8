"""Builds network, machines and cluster on Hetzner Cloud."""

from collections.abc import Mapping
from typing import Any

from components.hetzner.cluster import compose
from components.kubernetes import cluster_api

from ..clouds.build import component_args, outputs
from ..config import StackConfig
from . import ssh_access
from .config import HetznerConfig


def build(stack: StackConfig, config: HetznerConfig, before: Mapping[str, int]) -> dict[str, Any]:
    """Builds network, machines and cluster; arguments and result as in `Platform.build`."""
    plan = config.plan
    parts = compose(
        stack.cluster_name, component_args(config), plan, before, machine_metrics=stack.plan.machine_metrics
    )
    network, found = parts.network, outputs(stack, config, parts)
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
