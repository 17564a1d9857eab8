"""inspect: whether this control plane can be migrated from its stacked etcd; changes nothing."""

from __future__ import annotations

import urllib.parse

from ..control_plane import api_server, configuration, listed, manifest, places, stacked_flags
from ..control_plane.plan import Plan
from ..protocol import etcd
from ..shared import files
from ..shared.errors import NodeError
from ..shared.say import phase, say

_SKEW_SECONDS = 5.0
_LOCAL = ("127.0.0.1", "localhost", "::1")
_OWNER = "cluster.x-k8s.io/owner-kind"
_CONFIG = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"


def inspect(plan: Plan) -> None:
    """Refuses a control plane that cannot be migrated. Where an earlier run has begun, it checks little.

    Raises:
        NodeError: it cannot be migrated; nothing was changed.
    """
    phase("look at the manifest of the API server")
    values = manifest.read(api_server.text())
    servers = values[manifest.SERVERS].split(",")
    stranger = [url for url in servers if url not in plan.endpoints and not _is_stacked(url, plan)]
    if stranger:
        raise NodeError(
            f"its API server uses {', '.join(stranger)}, which is no stacked member; nothing was changed",
            "Only a cluster whose API servers use the etcd of the control planes can be migrated. Correct "
            "`migration.controlPlanes`, if an address there is wrong.",
        )
    if plan.leaves and not set(servers) <= set(plan.endpoints):
        raise NodeError(
            f"its API server uses {', '.join(servers)}, so its stacked member must not leave; nothing was changed",
            "Set `migration.phase` to switch and run `pulumi up`, then continue. If a stacked member has left already: "
            f"{plan.by_hand}",
        )
    begun = _has_begun(plan, values[manifest.SERVERS])
    address = api_server.own_address(plan.address)
    phase("ask the API server")
    said = api_server.trouble(address)
    if begun:
        if not said:
            listed.refuse_unlisted_nodes(plan, address)
        say("its manifest can be changed")
        return
    if said:
        raise _unready(said)
    if not api_server.runs_with(values):
        raise NodeError(
            "its API server does not run with the flags of etcd in its manifest; nothing was changed",
            "Wait until the kubelet has restarted it (`crictl ps`, `journalctl -u kubelet`), then run again.",
        )
    stacked = None if plan.leaves else files.read_bytes(places.ETCD)
    if stacked is not None:
        stacked_flags.refuse_differing(stacked.decode(errors="replace"), plan.flags)
    _refuse_cluster_api(plan, address)
    listed.refuse_unlisted_nodes(plan, address)
    if plan.leaves:
        listed.refuse_unlisted_members(plan)
    _refuse_configuration(address)
    _refuse_skew(plan)
    say("can be migrated")


def _has_begun(plan: Plan, servers: str) -> bool:
    """Whether the rest was checked in an earlier run, and could be in the way now.

    The way back must be open when something is wrong, and `switch` itself proves an API server that it has restarted.
    """
    if plan.leaves:
        return False
    if plan.uses_external(servers) or plan.goes_back:
        return True
    views = etcd.each(lambda address: etcd.peer_view(plan, address), plan.planes) if plan.joins else {}
    return any(plan.joined(view) for view in views.values() if isinstance(view, etcd.Membership))


def _is_stacked(url: str, plan: Plan) -> bool:
    return (urllib.parse.urlsplit(url).hostname or "") in (*_LOCAL, *plan.planes.values())


def _unready(said: str) -> NodeError:
    return NodeError(
        f"its API server is not ready: {said}; nothing was changed",
        "See `crictl ps -a` and `journalctl -u kubelet` on this control plane, then run again.",
    )


def _refuse_cluster_api(plan: Plan, address: str) -> None:
    try:
        node = api_server.ask(address, f"/api/v1/nodes/{plan.plane}").object()
    except api_server.AbsentError as error:
        raise NodeError(
            f"the API server knows no node {plan.plane} ({error}); nothing was changed",
            "In `migration.controlPlanes`, `name` must be the name of the node: `kubectl get nodes` lists them.",
        ) from None
    except api_server.UnreachableError as error:
        # An API server stays ready for a moment after its etcd has stopped.
        raise _unready(str(error)) from None
    owner = (node.get("metadata", {}).get("annotations") or {}).get(_OWNER, "")
    if owner:
        raise NodeError(
            f"Cluster API manages this machine (its owner is a {owner}): it would remove members that it does not "
            "know, and cannot change from stacked to external etcd; nothing was changed",
            "Such a cluster cannot be migrated. Create a new one with external etcd.",
        )


def _refuse_configuration(address: str) -> None:
    try:
        found = api_server.ask(address, _CONFIG).object()
        text = str(found["data"]["ClusterConfiguration"])
    except (api_server.AbsentError, KeyError, TypeError) as error:
        raise NodeError(
            f"the ConfigMap kubeadm-config in kube-system cannot be read ({error}); nothing was changed",
            "Only a cluster that kubeadm has set up can be migrated. `kubeadm init phase upload-config kubeadm` writes "
            "it again.",
        ) from None
    except api_server.UnreachableError as error:
        raise _unready(str(error)) from None
    configuration.kind(text)


def _refuse_skew(plan: Plan) -> None:
    for name, ahead in api_server.clock_difference(plan.others).items():
        if abs(ahead) > _SKEW_SECONDS:
            raise NodeError(
                f"its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of {name}; nothing was "
                "changed",
                "Correct the clocks of the control planes (chrony, systemd-timesyncd), then run again.",
            )
