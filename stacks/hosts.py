"""The platform `hosts`: machines that exist already, named in the configuration."""

from collections.abc import Mapping
from typing import Any

from components import Bastion, EtcdCluster, Machine, Ssh
from components.machine import login, with_login
from components.plan.firewall import member_rules

from .config import BastionConfig, MachineConfig, SshConfig, StackConfig
from .outputs import cluster_args, cluster_outputs


def build(stack: StackConfig, last: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Makes the cluster on the configured machines; returns the stack's outputs by name.

    Args:
        stack: the configuration.
        last: what the last update left in the outputs that `previous` was asked for.
    """
    machines = [_machine(machine) for machine in stack.machines]
    if stack.firewall is not None:
        rules = member_rules(
            [machine["address"] for machine in machines],
            operators=None,
            clients=stack.firewall.clients,
            metrics=stack.firewall.metrics_clients,
        )
        machines = [{**machine, "firewall": rules} for machine in machines]
    return cluster_outputs(stack, EtcdCluster(stack.cluster_name, cluster_args(stack, machines)))


def _machine(machine: MachineConfig) -> Machine:
    return {
        "name": machine.name,
        "address": machine.address,
        "ssh": _ssh(machine.ssh),
        "identity": machine.identity,
        "data_directory": machine.data_directory,
        "extra_names": list(machine.extra_names),
    }


def _ssh(ssh: SshConfig) -> Ssh:
    way: Ssh = {"host": ssh.host, "port": ssh.port, "user": ssh.user, "host_key": ssh.host_key, "sftp": ssh.sftp}
    way = with_login(way, login(ssh.private_key or None, ssh.passphrase or None))
    if ssh.bastion is not None:
        way["bastion"] = bastion(ssh.bastion)
    return way


def bastion(given: BastionConfig) -> Bastion:
    """A bastion that exists, as the components want it."""
    way: Bastion = {"host": given.host, "port": given.port, "user": given.user, "host_key": given.host_key}
    return with_login(way, login(given.private_key or None, given.passphrase or None))
