"""Whether the plan lists every control plane, and every member of the cluster."""

from __future__ import annotations

from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.say import phase
from . import api_server
from .plan import Plan

_NODES = "/api/v1/nodes?labelSelector=node-role.kubernetes.io/control-plane"


def refuse_unlisted_nodes(plan: Plan, address: str) -> None:
    """Refuses nodes that are control planes, and that the plan does not list.

    Args:
        address: of the API server to ask.

    Raises:
        NodeError: there is one, or that is unknown.
    """
    phase("ask the API server for all control planes")
    try:
        found = [str(item["metadata"]["name"]) for item in api_server.ask(address, _NODES).object()["items"]]
    except (api_server.UnreachableError, KeyError, TypeError) as error:
        raise NodeError(f"the nodes cannot be read ({error}); nothing was changed", "Run again.") from None
    if unlisted := sorted(set(found) - set(plan.planes)):
        raise NodeError(
            f"{', '.join(unlisted)}: a control plane by its label, but not in `migration.controlPlanes`; nothing was "
            "changed",
            "List every control plane. If one is lost for good, delete its node (`kubectl delete node`).",
        )


def refuse_unlisted_members(plan: Plan) -> None:
    """Refuses members that are neither of a listed control plane nor external: they would stay, without a manager.

    Raises:
        NodeError: there is one, or that is unknown.
    """
    known = {*plan.planes, *plan.members}
    if entries := [entry for entry in known_members(plan).members if entry.name not in known]:
        said = ", ".join(f"{entry.name or 'an unstarted member'} (ID {entry.id:x})" for entry in entries)
        raise NodeError(
            f"the cluster has a member that is neither in `migration.controlPlanes` nor in this stack: {said}; nothing "
            "was changed",
            "If it is of a control plane, list that. If its machine is lost for good, remove it as root on a member: "
            "`etcdctl member remove` and its ID.",
        )


def members(plan: Plan) -> tuple[etcd.Membership | None, str]:
    """The member list, from the first external member that has a quorum; None without one, and why.

    They are asked at their client port: their peer port is closed to control planes when the stacked members have left.
    """
    here, said = plan.stacked, []
    for name, address in plan.members.items():
        try:
            if trouble := etcd.ready(here, address).trouble:
                said.append(f"{name}: {trouble}")
                continue
            return etcd.member_list(here, [address]), ""
        except (etcd.SilentError, etcd.AlienError) as error:
            said.append(f"{name}: {error}")
        except NodeError as error:
            said.append(f"{name}: {error.cause}")
    return None, "; ".join(said)


def known_members(plan: Plan) -> etcd.Membership:
    """The same. Raises NodeError if no external member answers."""
    phase("ask the external members who is in the cluster")
    cluster, said = members(plan)
    if cluster is None:
        raise NodeError(f"no external member answers ({said}); nothing was changed", "Bring them back, then run again.")
    return cluster
