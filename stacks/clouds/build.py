"""Builds what all clouds have in common: the operator's login, and the cluster on the created machines."""

from typing import Any

from components import EtcdCluster
from components.cloud_cluster import OperatorSsh, Parts
from components.machine import login, with_login

from ..config import StackConfig
from ..outputs import cluster_args, cluster_outputs, machines_file
from ..platform import BASTION
from .config import CloudConfig


def component_args(config: CloudConfig) -> dict[str, Any]:
    """The arguments of the cloud's component, without those of the cluster."""
    operator = config.operator
    ssh: OperatorSsh = {"user": operator.user}
    if operator.public_key:
        ssh["public_key"] = operator.public_key
        ssh = with_login(ssh, login(operator.private_key or None, operator.passphrase or None))
    if operator.bastion is not None:
        ssh["bastion"] = operator.bastion.to_bastion
    return {**config.args, "ssh": ssh}


def outputs(stack: StackConfig, config: CloudConfig, parts: Parts) -> dict[str, Any]:
    """Builds the cluster; returns the stack's outputs that all clouds have, by name."""
    machines, bastion = parts.machines, parts.bastion
    found = cluster_outputs(stack, EtcdCluster(stack.cluster_name, cluster_args(stack, machines.machines)))
    if config.plan.bastion is not None and bastion is not None:
        found[BASTION] = {"host": bastion["host"], "host_key": bastion["host_key"], "user": config.operator.user}
    if "private_key" in parts.operator:
        found["ssh_private_key"] = parts.operator["private_key"]
    return {
        **found,
        "server_ids": machines.server_ids,
        "hosts": machines.hosts,
        "machines_file": machines_file(machines.machines),
        "generations": machines.generations,
    }
