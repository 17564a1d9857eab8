"""A member's resources may be deleted only after it has left the cluster, or with the whole cluster.

At the end of an update Pulumi deletes resources that are no longer in the program. It does so even if a step of the
update failed (`--continue-on-error`) or was skipped (`--target`). `pulumi destroy --target` deletes a part without
running the program. Deleting a member's `prepare` retires its machine, and deleting a server destroys it, even if they
are still cluster members.
"""

import json
import shlex
from collections.abc import Collection, Sequence

import pulumi
from pulumi_command import remote

from .irreplaceable import irreplaceable, urns_in_state
from .machine import Machine, connection


def refuse_partial_deletion(
    name: str,
    cluster: str,
    machine: Machine,
    *,
    initial_cluster: pulumi.Resource,
    prepared: Sequence[pulumi.Resource],
    parent: pulumi.Resource,
) -> None:
    """Creates a command that does nothing. Its deletion fails unless the whole cluster is deleted with it.

    It depends on every member, so it is deleted before any part of a member. If the whole cluster is deleted, Pulumi
    does not run its deletion (`deleted_with`), so `pulumi destroy` works even if machines are down.

    Args:
        name: name of the component; the command is `<name>-whole`.
        machine: the machine on which the deletion runs.
        initial_cluster: a resource that is deleted only with the whole cluster.
        prepared: the members' commands whose deletion retires their machines.
    """
    refusal = (
        f"a part of the cluster {cluster} would be destroyed, but the rest of it still needs that part; no machine was "
        "touched. To remove a member, remove its entry from the list, then run `pulumi up`. To destroy the whole "
        "cluster, run `pulumi destroy` without --target. To remove one member from its machine by hand, run "
        f"`etcd-node retire {cluster}` there, as root. Now run `pulumi up`: it restores what this run has removed from "
        "the state."
    )
    anew = irreplaceable(
        f"{name}-whole-in-use", lambda resource: f"{resource} must not be replaced: it guards the cluster."
    )
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


async def proved_healthy(name: str, members: Collection[str], health: remote.Command) -> bool:
    """True if this update has proved the cluster healthy with these members, or deletes no member.

    An error here ends the program. Pulumi then deletes nothing, and the stack's outputs stay unchanged.

    Args:
        members: the slots.

    Raises:
        pulumi.RunError: this update has not proved it.
    """
    if pulumi.runtime.is_dry_run():
        return True
    if not await health.stdout.is_known():
        raise pulumi.RunError(
            f"This run has not proved the cluster {name} healthy: an earlier step failed or was skipped (--target). "
            "So nothing is deleted, and the outputs stay unchanged. Remove the cause, then run `pulumi up` without "
            "--target."
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
            f"{', '.join(gone)} left the list of members, but this run was limited to other resources (--target). It "
            f"has not proved the cluster {name} healthy without them, so nothing of them is deleted. Run `pulumi up` "
            "without --target."
        )
    return True
