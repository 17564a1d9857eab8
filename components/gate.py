"""The gate before a machine goes: another member has to prove that the cluster can do without it."""

import shlex
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import remote

from .answers import asked
from .machine import Machine, connection

_ETCD_NODE = "/usr/local/sbin/etcd-node"
# Bounds in seconds what etcd-node bounds itself.
_SECONDS = 240


def gates(
    name: str,
    machines: Sequence[Machine],
    servers: Mapping[str, Sequence[pulumi.CustomResource]],
    slots: Mapping[str, pulumi.Resource],
    parent: pulumi.Resource,
) -> None:
    """Puts a gate before the replacement of each machine: the cluster must tolerate its loss, while its server stands.

    A gate is the deletion of a command which is replaced together with the server, and so deleted before it: on the
    witness, the machine of the next slot, `etcd-node drain` proves that the other members are healthy and carry the
    quorum, and takes the leadership away. If it refuses, nothing was touched. Nobody is asked when a machine is made
    for the first time, or comes back after it was deleted behind Pulumi's back (nothing is deleted then), or when the
    slot goes, or everything, or where there is no other machine.

    Args:
        name: the cluster's; the gates are `<name>-<slot>-gate`.
        machines: of all slots, in order. The state keeps the way to a witness, so that a new one counts only from the
            next update on.
        servers: slot -> the server, and after it everything else whose replacement takes it away, its disk or its
            network: Pulumi deletes what depends on a resource before that resource, and looks for gates of that one
            resource alone. What all slots have in common asks at all gates, and at most one lets its machine go.
        slots: slot -> a resource that is never replaced and goes when the slot does, such as the host key.
        parent: the component.
    """
    for machine, witness in zip(machines, [*machines[1:], *machines[:1]], strict=True):
        slot = machine["name"]
        remote.Command(
            f"{name}-{slot}-gate",
            connection=connection(witness["ssh"]),
            delete=None if witness is machine else _ask(slot, witness),
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=parent,
                depends_on=[servers[slot][0]],
                replace_with=list(servers[slot]),
                delete_before_replace=True,
                deleted_with=slots[slot],
            ),
        )


def _ask(name: str, witness: Machine) -> str:
    missing = (
        f"{witness['name']} cannot tell whether the cluster tolerates the loss of {name}: it has no etcd-node; "
        f"the machine of {name} stays as it is. Put its generation back and run pulumi up first."
    )
    script = (
        f"if [ -x {_ETCD_NODE} ]; then exec {_ETCD_NODE} --answer drain {shlex.quote(name)}; fi; "
        f"echo {shlex.quote(missing)} >&2; exit 1"
    )
    return asked(witness["ssh"], witness["name"], _SECONDS, "sh", "-c", script)
