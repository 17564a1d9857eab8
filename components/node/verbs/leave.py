"""leave: the manifest of the stacked member goes, when it has left the cluster. configure: kubeadm knows it, too."""

from __future__ import annotations

from typing import Any

from ..control_plane import api_server, configuration, listed, manifest, places
from ..control_plane.plan import Plan
from ..shared import files
from ..shared.errors import NodeError
from ..shared.say import phase, say, until

_CONFIG = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
_CONFLICT = 409
_CONFLICT_SECONDS = 20.0


def leave(plan: Plan) -> None:
    """Moves the manifest aside, and waits until etcd has ended. The data stay.

    Raises:
        NodeError: its member is still in the cluster, or its API server still uses it; nothing was changed.
    """
    _refuse_in_use(plan)
    _refuse_member(plan)
    content = files.read_bytes(places.ETCD)
    if content is not None:
        phase("move the manifest of the stacked etcd aside")
        files.directory(places.KEPT, 0o700)
        files.write(places.kept(places.ETCD), content, 0o600)
        files.remove(places.ETCD)
        files.sync_directory(places.MANIFESTS)
        say(f"moved the manifest of its etcd to {places.kept(places.ETCD)}; the data stay in place")
    api_server.wait_until_etcd_has_ended(plan.plane)
    say("has no etcd any more")


def configure(plan: Plan) -> None:
    """Changes `etcd` in the ConfigMap kubeadm-config to the external members.

    Raises:
        NodeError: it cannot be read, understood or written.
    """
    address = api_server.own_address(plan.address)
    phase("change kubeadm-config")
    for _ in until(_CONFLICT_SECONDS, every=0.5):
        found = _read(address)
        before = str(found["data"]["ClusterConfiguration"])
        after = configuration.with_external(
            before,
            plan.endpoints,
            str(places.CA_FILE),
            str(places.CERTIFICATE_FILE),
            str(places.KEY_FILE),
        )
        if after == before:
            say("kubeadm-config has the external etcd")
            return
        if configuration.kind(before) == configuration.LOCAL:
            files.directory(places.KEPT, 0o700)
            files.write(places.KEPT / "ClusterConfiguration.yaml", before, 0o600)
        found["data"]["ClusterConfiguration"] = after
        try:
            answer = api_server.ask(address, _CONFIG, "PUT", found)
            if answer.status == _CONFLICT:
                continue
            answer.object()
        except api_server.UnreachableError as error:
            raise NodeError(f"kubeadm-config could not be written ({error})", "Run again.") from None
        say("changed kubeadm-config to the external etcd")
        return
    raise NodeError("somebody else changes kubeadm-config all the time", "Run again.")


def _read(address: str) -> dict[str, Any]:
    try:
        found = api_server.ask(address, _CONFIG).object()
        if not isinstance(found["data"]["ClusterConfiguration"], str):
            raise TypeError
    except (api_server.UnreachableError, KeyError, TypeError) as error:
        raise NodeError(f"the ConfigMap kubeadm-config cannot be read ({error})", "Run again.") from None
    return found


def _refuse_in_use(plan: Plan) -> None:
    servers = manifest.read(api_server.text())[manifest.SERVERS].split(",")
    if not set(servers) <= set(plan.endpoints):
        raise NodeError(
            f"its API server uses {', '.join(servers)}, not only the external members; nothing was changed",
            plan.by_hand,
        )


def _refuse_member(plan: Plan) -> None:
    if any(entry.name == plan.plane for entry in listed.known_members(plan).members):
        raise NodeError(
            "its etcd is still a member of the cluster; nothing was changed",
            "Run `pulumi up` again: the members remove it first.",
        )
