"""stage: restores a snapshot beside the member's data, while the member serves, and says what is here."""

from __future__ import annotations

import json
from dataclasses import replace

from ..backup import stored
from ..cluster.claim import Claim
from ..data import identity, restored
from ..protocol import etcd, wal
from ..service import certificates, release
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.say import phase, say
from ..shared.spec import Bundle, Restore, Spec


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
        return _answer(spec, spec.restore, begun=True, data=True, quorum=False)
    serving = _serving(spec)
    Claim(spec, bundle.operator).hold(serving)
    if spec.restore.source:
        _from_store(spec, spec.restore, bundle)
    else:
        restored.stage(spec, spec.restore, f"{restored.FOLDER}{spec.member}.{bundle.restore.run}")
    data = wal.exists(spec.data_directory)
    return _answer(spec, spec.restore, begun=False, data=data, quorum=bool(serving))


def _answer(spec: Spec, restore: Restore, **found: bool) -> str:
    return json.dumps({**found, "sha256": restored.mark(spec, restore).sha256})


def _from_store(spec: Spec, restore: Restore, bundle: Bundle) -> None:
    """Stages the snapshot of the store; its decrypted copy is removed, however this ends."""
    backup, folder = spec.backup, stored.folder(spec)
    assert backup is not None and bundle.restore is not None  # noqa: S101  the program passes both
    files.remove_tree(folder)
    try:
        if not restored.mark(spec, restore).token:
            stored.configure(backup, bundle.store)
            restore = replace(restore, sha256=stored.bring(spec, restore, backup, bundle.restore.identity).sha256)
        restored.stage(spec, restore, str(folder))
    finally:
        files.remove_tree(folder)


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
