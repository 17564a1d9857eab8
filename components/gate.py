"""The gate before a machine goes: another member has to prove that the cluster can do without it."""

import shlex

import pulumi
from pulumi_command import remote

from .machine import Machine, connection

_ETCD_NODE = "/usr/local/sbin/etcd-node"
# Bounds in seconds what etcd-node bounds itself.
_SECONDS = 240


def gate(
    name: str,
    machine: Machine,
    server: pulumi.CustomResource,
    *,
    witness: Machine,
    slot: pulumi.Resource,
    parent: pulumi.Resource,
) -> None:
    """Puts a gate before the replacement of a machine: while its server stands, the cluster has to be able to spare it.

    The gate is the deletion of a command which is replaced together with the server, and so deleted before it: on the
    witness, `etcd-node spare` proves that the other members are healthy and carry the quorum, and takes the leadership
    away. If it refuses, nothing was touched. Nobody is asked when a machine is made for the first time, or comes back
    after it was deleted behind Pulumi's back (nothing is deleted then), or when the slot goes, or everything.

    Args:
        name: name of the resource.
        machine: the slot's machine.
        server: what is replaced.
        witness: the machine of another slot, which is asked; as the state knows it, so that a new way to it counts only
            from the next update on. The machine itself where there is no other: then nobody is asked.
        slot: a resource that is never replaced and goes when the slot does, such as the host key.
        parent: the component.
    """
    remote.Command(
        name,
        connection=connection(witness["ssh"]),
        create="true",
        delete=None if witness is machine else _ask(machine["name"], witness),
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[server],
            replace_with=[server],
            delete_before_replace=True,
            deleted_with=slot,
        ),
    )


def ring(machines: list[Machine]) -> list[tuple[Machine, Machine]]:
    """Each machine with the one that is asked about it: the next in order."""
    return list(zip(machines, [*machines[1:], *machines[:1]], strict=True))


def _ask(name: str, witness: Machine) -> str:
    sudo = "" if witness["ssh"].get("user", "root") == "root" else "sudo -n "
    missing = (
        f"{witness['name']} cannot tell whether the cluster can spare {name}: it has no etcd-node; the machine of "
        f"{name} stays as it is. Put its generation back and run pulumi up first."
    )
    script = (
        f"if [ -x {_ETCD_NODE} ]; then exec {_ETCD_NODE} spare {shlex.quote(name)}; fi; "
        f"echo {shlex.quote(missing)} >&2; exit 1"
    )
    return f"{sudo}timeout --kill-after=10 {_SECONDS} sh -c {shlex.quote(script)}"
