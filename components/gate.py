"""The gate before a machine goes: another member has to prove that the cluster can do without it."""

import shlex

import pulumi
from pulumi_command import remote

from .machine import Machine, connection

_ETCD_NODE = "/usr/local/sbin/etcd-node"
# Bounds in seconds what etcd-node bounds itself.
_SECONDS = 240


def gate(name: str, machine: Machine, server: pulumi.CustomResource, witness: Machine, parent: pulumi.Resource) -> None:
    """Puts a gate before the replacement of a machine: while its server stands, the cluster has to be able to spare it.

    The gate is the deletion of a command which is replaced together with the server, and so deleted before it: on the
    witness, `etcd-node spare` proves that the other members are healthy and carry the quorum, and takes the leadership
    away. If it refuses, nothing was touched. Nothing is asked when a machine is made for the first time, or comes back
    after it was deleted behind Pulumi's back (nothing is deleted then), or when everything goes.

    Args:
        name: name of the resource.
        machine: the slot's machine.
        server: what is replaced.
        witness: the machine of another slot, which is asked; as the state knows it, so that a new way to it counts only
            from the next update on.
        parent: the component, in whose deletion nobody is asked.
    """
    sudo = "" if witness["ssh"].get("user", "root") == "root" else "sudo -n "
    missing = (
        f"{witness['name']} cannot tell whether the cluster can spare {machine['name']}: it has no etcd-node; the "
        f"machine of {machine['name']} stays as it is. Run pulumi up with its old generation first."
    )
    script = (
        f"if [ -x {_ETCD_NODE} ]; then exec {_ETCD_NODE} spare {shlex.quote(machine['name'])}; fi; "
        f"echo {shlex.quote(missing)} >&2; exit 1"
    )
    remote.Command(
        name,
        connection=connection(witness["ssh"]),
        create="true",
        delete=f"{sudo}timeout --kill-after=10 {_SECONDS} sh -c {shlex.quote(script)}",
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[server],
            replace_with=[server],
            delete_before_replace=True,
            deleted_with=parent,
        ),
    )


def ring(machines: list[Machine]) -> list[tuple[Machine, Machine]]:
    """Each machine with the one that is asked about it, the next in order; empty where there is only one."""
    return list(zip(machines, [*machines[1:], machines[0]], strict=True)) if len(machines) > 1 else []
