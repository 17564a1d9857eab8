"""Builds the cluster on existing machines."""

from typing import Any

from components import EtcdCluster, Machine
from components.plan.firewall_rules import member_rules

from ..config import StackConfig
from ..outputs import cluster_args, cluster_outputs
from .config import HostConfig, HostsConfig


def build(stack: StackConfig, config: HostsConfig, before: dict[str, int]) -> dict[str, Any]:  # noqa: ARG001
    """Builds the cluster on the configured machines; arguments and result as in `Platform.build`."""
    machines = [_machine(host) for host in config.hosts]
    if config.firewall is not None:
        rules = member_rules(
            [*(machine["address"] for machine in machines), *stack.plan.stacked.values()],
            operators=None,
            clients=config.firewall.clients,
            metrics=config.firewall.metrics_clients,
            machine_metrics=stack.plan.machine_metrics,
        )
        machines = [{**machine, "firewall": rules} for machine in machines]
    return cluster_outputs(stack, EtcdCluster(stack.cluster_name, cluster_args(stack, machines)))


def _machine(host: HostConfig) -> Machine:
    return {
        "name": host.name,
        "address": host.address,
        "ssh": host.ssh.to_machine,
        "identity": host.identity,
        "data_directory": host.data_directory,
        "extra_names": list(host.extra_names),
    }
