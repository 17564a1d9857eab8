"""A member's resources are deleted when it has left the cluster, or with the whole cluster, and never otherwise.

Pulumi deletes what is no longer in the program at the end of an update, also where a step of that update has failed
(`--continue-on-error`) or was left out (`--target`), and `pulumi destroy --target` deletes a part without running the
program at all. Deleting a member's `prepare` retires its machine, and deleting a server takes it away, whether the
cluster still counts on them or not.
"""

import json
import shlex
from collections.abc import Collection, Sequence

import pulumi
from pulumi_command import remote

from .irreplaceable import irreplaceable, urns_in_state
from .machine import Machine, connection


def refuse_parts(
    name: str,
    cluster: str,
    machine: Machine,
    *,
    initial_cluster: pulumi.Resource,
    prepared: Sequence[pulumi.Resource],
    parent: pulumi.Resource,
) -> None:
    """Makes a command that does nothing, and whose deletion fails unless the whole cluster is deleted with it.

    It depends on every member, so that nothing of one is deleted before it. With the whole, it is not asked
    (`deleted_with`), so that `pulumi destroy` works whichever machines do.

    Args:
        name: the component's; the command is `<name>-whole`.
        cluster: name of the cluster.
        machine: where it refuses.
        initial_cluster: what is deleted only with the whole.
        prepared: the members' commands whose deletion retires their machines.
        parent: the component.
    """
    refusal = (
        f"a part of the cluster {cluster} would be destroyed, and the rest of it still counts on that part; no machine "
        "was touched. A member leaves when its entry is taken off the list: edit the configuration, then `pulumi up`. "
        "All of it goes with `pulumi destroy` without --target. To take one member off its machine by hand, run "
        f"`etcd-node retire {cluster}` there, as root. Now run `pulumi up`: it restores what this run has taken out of "
        "the state."
    )
    anew = irreplaceable(f"{name}-whole-in-use", lambda resource: f"{resource} guards the cluster: it is not replaced.")
    remote.Command(
        f"{name}-whole",
        connection=connection(machine["ssh"]),
        delete=f"echo {shlex.quote(refusal)} >&2; exit 1",
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[initial_cluster, *prepared],
            deleted_with=initial_cluster,
            hooks=pulumi.ResourceHookBinding(before_create=[anew]),
        ),
    )


async def proved(name: str, members: Collection[str], health: remote.Command) -> bool:
    """True when this update has proved the cluster healthy with these members, or has nothing to delete.

    What fails here ends the program, and Pulumi deletes nothing then; the stack's outputs stay as they were.

    Args:
        name: the component's.
        members: the slots.
        health: the command that proves it.

    Raises:
        pulumi.RunError: it has not.
    """
    if pulumi.runtime.is_dry_run():
        return True
    if not await health.stdout.is_known():
        raise pulumi.RunError(
            f"This run has not proved the cluster {name} healthy: a step before that has failed, or was left out "
            "(--target). So nothing is deleted, and the outputs stay as they were. Remove the cause, then run "
            "`pulumi up`, without --target."
        )
    asked = json.loads(str(await health.stdin.future() or "{}"))
    if set(asked.get("changes", {}).get("members", {})) == set(members):
        return True
    prepared = {f"{name}-{member}-prepare" for member in members}
    there = {urn.rsplit("::", 1)[1] for urn in await urns_in_state() if "EtcdMember$command:remote:Command::" in urn}
    gone = sorted(
        each.removeprefix(f"{name}-").removesuffix("-prepare")
        for each in there - prepared
        if each.startswith(f"{name}-") and each.endswith("-prepare")
    )
    if gone:
        raise pulumi.RunError(
            f"{', '.join(gone)} left the list of members, and this run was limited to other resources (--target): it "
            f"has not proved the cluster {name} healthy without them. So nothing of them is deleted. Run `pulumi up` "
            "without --target."
        )
    return True
