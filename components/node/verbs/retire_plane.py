"""retire_plane: removes this program from a control plane, and nothing else."""

from __future__ import annotations

from ..control_plane.plan import Plan
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.say import phase, say


def retire_plane(plan: Plan) -> None:  # noqa: ARG001  every verb here gets it
    """Removes the program, unless this machine holds a member.

    Raises:
        NodeError: it does.
    """
    if paths.IDENTITY.exists():
        raise NodeError("this machine holds a member; nothing was removed", "`etcd-node retire` removes that first.")
    phase("remove etcd-node")
    say("removed etcd-node; what the migration has replaced is kept in /etc/kubernetes/external-etcd")
    files.remove(paths.WRAPPER)
    files.remove_tree(paths.PROGRAM)
    files.remove(paths.LOCK)
