"""authority: prints kubeadm's CA for etcd, with its key. Only the standard output has it."""

from __future__ import annotations

import json

from ..control_plane import places
from ..control_plane.plan import Plan
from ..shared import files
from ..shared.errors import NodeError


def authority(plan: Plan) -> str:  # noqa: ARG001  every verb here gets it
    """Returns `certificate` and `private_key`, PEM, as JSON text.

    Raises:
        NodeError: one of them is not on this machine.
    """
    found = {"certificate": places.CA_FILE, "private_key": places.CA_KEY}
    contents = {name: files.read_bytes(path) for name, path in found.items()}
    missing = [str(found[name]) for name, content in contents.items() if not content]
    if missing:
        raise NodeError(
            f"{' and '.join(missing)} missing: the members get certificates of the stacked cluster's CA; nothing was "
            "changed",
            "Put the CA of etcd with its key there, as kubeadm does, or give both as an authority of your own "
            "(`authorities`). Then run again.",
        )
    return json.dumps({name: (content or b"").decode() for name, content in contents.items()})
