"""Builds network, machines and cluster on AWS."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components.aws import AwsNetwork
from components.aws.cluster import compose
from components.kubernetes import cluster_api

from ..clouds.build import component_args, outputs
from ..config import StackConfig
from .config import AwsConfig


def build(stack: StackConfig, config: AwsConfig, before: Mapping[str, int]) -> dict[str, Any]:
    """Builds network, machines and cluster; arguments and result as in `Platform.build`."""
    plan = config.plan
    parts = compose(stack.cluster_name, component_args(config), plan, before)
    network = parts.network
    return {
        **outputs(stack, config, parts),
        "network_id": network.vpc_id,
        "subnets": {
            zone: {"id": network.subnet_ids[zone], "range": str(range_)} for zone, range_ in plan.ranges.items()
        },
        "clients_security_group": network.clients_group_id,
        "cluster_api_infrastructure": _infrastructure(stack, network, public=plan.public_ipv4),
    }


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
