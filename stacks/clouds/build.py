"""Builds what all clouds have in common: the operator's key, and the cluster on the created machines."""

from collections.abc import Callable, Mapping
from typing import Any

from components import Bastion, EtcdCluster
from components.first_boot import OperatorArgs
from components.machine import login, with_login
from components.slots import CloudMachines, CloudMachinesArgs
from components.ssh_key import CloudKey

from ..config import StackConfig
from ..outputs import cluster_args, cluster_outputs, machines_file
from ..platform import BASTION
from ..ssh_settings import Operator
from .config import CloudConfig


def operator_args(operator: Operator, make: Callable[[], CloudKey]) -> OperatorArgs:
    """The operator, with their own key or with one created by `make`."""
    args: OperatorArgs = {"public_key": operator.public_key, "user": operator.user}
    if operator.public_key:
        return with_login(args, login(operator.private_key or None, operator.passphrase or None))
    made = make()
    args["public_key"] = made.public_key
    return with_login(args, login(made.private_key, None))


def machines_args(
    config: CloudConfig, operator: OperatorArgs, bastion: Bastion | None, before: Mapping[str, int]
) -> CloudMachinesArgs:
    """The arguments of machines that all clouds have.

    Args:
        operator: the operator's login.
        bastion: the bastion through which machines are reached, if any.
        before: slot -> generation in the last update.
    """
    args: CloudMachinesArgs = {
        **operator,  # type: ignore[typeddict-item]  # what is optional is set below
        "cluster_name": config.plan.cluster,
        "public_ipv4": config.plan.public_ipv4,
        "data_directory": config.data_directory,
        "previous_generations": {**before},
    }
    if bastion is not None:
        args["bastion"] = bastion
    return args


def outputs(
    stack: StackConfig, config: CloudConfig, machines: CloudMachines, operator: OperatorArgs, bastion: Bastion | None
) -> dict[str, Any]:
    """Builds the cluster; returns the stack's outputs that all clouds have, by name."""
    found = cluster_outputs(stack, EtcdCluster(stack.cluster_name, cluster_args(stack, machines.machines)))
    if config.plan.bastion is not None and bastion is not None:
        found[BASTION] = {"host": bastion["host"], "host_key": bastion["host_key"], "user": config.operator.user}
    if "private_key" in operator:
        found["ssh_private_key"] = operator["private_key"]
    return {
        **found,
        "server_ids": machines.server_ids,
        "hosts": machines.hosts,
        "machines_file": machines_file(machines.machines),
        "generations": machines.generations,
    }
