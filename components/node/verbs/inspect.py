"""inspect: whether this control plane can be migrated from its stacked etcd; changes nothing."""

from __future__ import annotations

import json
import urllib.parse

from ..control_plane import api_server, configuration, listed, manifest, places, stacked_flags
from ..control_plane.plan import Plan
from ..shared import files
from ..shared.errors import NodeError
from ..shared.say import phase, say

_SKEW_SECONDS = 5.0
_LOCAL = ("127.0.0.1", "localhost", "::1")
_OWNER = "cluster.x-k8s.io/owner-kind"
_CONFIG = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"


def inspect(plan: Plan) -> str:
    """Returns what was found as JSON text: `etcd`, which is `stacked`, `external` or `removed`.

    Raises:
        NodeError: it cannot be migrated; nothing was changed.
    """
    phase("look at the manifest of the API server")
    servers = manifest.read(api_server.text())[manifest.SERVERS].split(",")
    stranger = [url for url in servers if url not in plan.endpoints and not _is_stacked(url, plan)]
    if stranger:
        raise NodeError(
            f"its API server uses {', '.join(stranger)}, which is no stacked member; nothing was changed",
            "Only a cluster whose API servers use the etcd of the control planes can be migrated. Correct "
            "`migration.controlPlanes`, if an address there is wrong.",
        )
    switched = set(servers) <= set(plan.endpoints)
    if plan.leaves and not switched:
        raise NodeError(
            f"its API server uses {', '.join(servers)}, so its stacked member must not leave; nothing was changed",
            "Set `migration.phase` to switch and run `pulumi up`, then continue. If a stacked member has left already: "
            f"{plan.by_hand}",
        )
    address = api_server.own_address(plan.address)
    phase("ask the API server")
    said = api_server.trouble(address)
    if said:
        raise NodeError(
            f"its API server is not ready: {said}; nothing was changed",
            "See `crictl ps -a` and `journalctl -u kubelet` on this control plane, then run again.",
        )
    stacked = files.read_bytes(places.ETCD)
    if stacked is not None and not switched:
        stacked_flags.refuse_differing(stacked.decode(errors="replace"), plan.flags)
    _refuse_cluster_api(plan, address)
    listed.refuse_unlisted_nodes(plan, address)
    if plan.leaves:
        listed.refuse_unlisted_members(plan)
    _refuse_configuration(address)
    _refuse_skew(plan)
    say("can be migrated")
    return json.dumps({"etcd": ("removed" if stacked is None else "external") if switched else "stacked"})


def _is_stacked(url: str, plan: Plan) -> bool:
    return (urllib.parse.urlsplit(url).hostname or "") in (*_LOCAL, *plan.planes.values())


def _refuse_cluster_api(plan: Plan, address: str) -> None:
    try:
        node = api_server.ask(address, f"/api/v1/nodes/{plan.plane}").object()
    except api_server.UnreachableError as error:
        raise NodeError(
            f"the API server knows no node {plan.plane} ({error}); nothing was changed",
            "In `migration.controlPlanes`, `name` must be the name of the node: `kubectl get nodes` lists them.",
        ) from None
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
    except (api_server.UnreachableError, KeyError, TypeError) as error:
        raise NodeError(
            f"the ConfigMap kubeadm-config in kube-system cannot be read ({error}); nothing was changed",
            "Only a cluster that kubeadm has set up can be migrated. `kubeadm init phase upload-config kubeadm` writes "
            "it again.",
        ) from None
    configuration.kind(text)


def _refuse_skew(plan: Plan) -> None:
    for name, ahead in api_server.clock_difference(plan.others).items():
        if abs(ahead) > _SKEW_SECONDS:
            raise NodeError(
                f"its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of {name}; nothing was "
                "changed",
                "Correct the clocks of the control planes (chrony, systemd-timesyncd), then run again.",
            )
