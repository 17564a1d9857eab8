"""stage: restores a snapshot beside the member's data, while the member serves, and says what is here."""

from __future__ import annotations

import json

from ..cluster.claim import Claim
from ..data import identity, restored
from ..protocol import etcd, wal
from ..service import certificates, release
from ..shared import paths
from ..shared.errors import NodeError
from ..shared.say import phase, say
from ..shared.spec import Bundle, Spec


def stage(spec: Spec, bundle: Bundle) -> str:
    """Verifies the snapshot and restores it beside the data; returns what `restore` on all machines must know, as JSON.

    Raises:
        NodeError: this machine belongs to another cluster or operator, or the snapshot cannot be restored; nothing was
            changed.
    """
    phase("look at the machine")
    assert spec.restore is not None and bundle.restore is not None  # noqa: S101  the program passes both
    known = identity.load()
    identity.refuse_another(known, spec)
    identity.refuse_other_authority(known, certificates.authority(bundle))
    if known is None:
        raise NodeError("this machine was not prepared", "Run `pulumi up`: prepare comes first.")
    release.ensure(spec)
    if restored.of(spec) == spec.restore.token:
        say("the restored data are in place")
        return json.dumps({"begun": True, "data": True, "quorum": False})
    serving = _serving(spec)
    Claim(spec, bundle.operator).hold(serving)
    restored.stage(spec, spec.restore, f"{restored.FOLDER}{spec.member}.{bundle.restore.run}")
    return json.dumps({"begun": False, "data": wal.exists(spec.data_directory), "quorum": bool(serving)})


def _serving(spec: Spec) -> list[str]:
    """Addresses of the members that read through the quorum, as far as this machine can see."""
    phase("ask the members")
    if not (paths.PKI / "healthcheck-client.key").exists():
        return []
    try:
        answering, _ = etcd.with_quorum(spec, spec.members)
    except NodeError:
        return []  # the certificates here cannot be used; other machines can see it
    return [address for address, _ in answering]
