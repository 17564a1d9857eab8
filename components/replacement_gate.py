"""The gate before a machine is deleted: another member must prove that the cluster tolerates its loss."""

import shlex
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import remote

from .machine import Machine, connection
from .node.shared.limits import killed_after
from .node.shared.paths import WRAPPER
from .remote_command import command_line


def gates(
    name: str,
    machines: Sequence[Machine],
    servers: Mapping[str, Sequence[pulumi.CustomResource]],
    slots: Mapping[str, pulumi.Resource],
    parent: pulumi.Resource,
) -> None:
    """Adds a gate before the replacement of each machine: the cluster must tolerate its loss before it is deleted.

    A gate is the deletion of a command that is replaced together with the server, and so deleted before it. It runs
    `etcd-node drain` on the witness, the machine of the next slot. This proves that the other members are healthy and
    form a quorum, and moves the leadership away. If it refuses, nothing was touched.

    A gate does not run if nothing is deleted: for a new machine, and for one that was deleted outside Pulumi. It does
    not run either if the slot or the whole cluster is removed, or if there is no other machine.

    Args:
        name: name of the cluster; the gates are `<name>-<slot>-gate`.
        machines: the machines of all slots, in order. The state keeps the way to a witness, so a new witness is used
            only from the next update on.
        servers: slot -> the server, then all other resources whose replacement deletes the server, its disk or its
            network. Pulumi deletes dependents first, and runs the gates of exactly the replaced resource. A resource
            common to all slots runs all gates; at most one of them allows the loss of its machine.
        slots: slot -> a resource that is never replaced and deleted with the slot, such as the host key.
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
        f"{witness['name']} cannot tell whether the cluster tolerates the loss of {name}: it has no etcd-node. The "
        f"machine of {name} was not touched. Set its generation back and run pulumi up first."
    )
    script = (
        f"if [ -x {WRAPPER} ]; then exec {WRAPPER} --answer drain {shlex.quote(name)}; fi; "
        f"echo {shlex.quote(missing)} >&2; exit 1"
    )
    return command_line(witness["ssh"], witness["name"], killed_after("drain"), "sh", "-c", script)
