"""What a drill compares, and what the cluster remembers of the last one: a key of etcd."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..cluster import lease
from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.say import until
from ..shared.spec import Spec

# `metrics` runs every minute, and needs none of these modules.
if TYPE_CHECKING:
    from ..data.snapshot import Content
    from ..protocol.snapshot_file import Revisions
    from .scratch import Served

LAST = "external-etcd/drill-last"
_LATEST = 1 << 33
_ASK_SECONDS = 60.0
_PROVED: Mapping[str, type] = {"name": str, "place": str, "member": str, "keys": int, "seconds": int}
_FAILED: Mapping[str, type] = {"name": str, "member": str, "cause": str}


def unlike_stored(stored: Mapping[str, Any], content: Content, version: str) -> list[str]:
    """How a snapshot that came back differs from what was stored; pure.

    Args:
        stored: `revision`, `keys`, `hash` and `version` of etcdutl, as they were before the snapshot left the machine.
        content: what `etcdutl snapshot status` says of what came back.
        version: of this etcdutl. That of 3.5 counts other things than keys.
    """
    pairs = {"revision": (content.revision, stored["revision"]), "hash": (f"{content.checksum:08x}", stored["hash"])}
    if stored["version"] == version:
        pairs["number of keys"] = (content.keys, stored["keys"])
    return [f"its {what} is {found} and not {wanted}" for what, (found, wanted) in pairs.items() if found != wanted]


def unlike_served(content: Content, before: Revisions, after: Revisions, served: Served, version: str) -> list[str]:
    """How the restored etcd differs from the snapshot; pure.

    Args:
        content: what `etcdutl snapshot status` says of the snapshot.
        before: what is in the snapshot, up to its revision.
        after: what is in the database of the etcd that has served it, up to the same revision.
        version: of etcd. etcdutl of 3.5 counts other things than keys.
    """
    found = []
    # Leases end while it serves, and etcd then deletes their keys: its revision can be higher.
    if served.revision < content.revision:
        found.append(f"it serves revision {served.revision}, and the snapshot has {content.revision}")
    if served.keys is not None and not version.startswith("3.5.") and served.keys != content.keys:
        found.append(f"it serves {served.keys} keys, and the snapshot has {content.keys}")
    # Etcd goes on with a compaction in whose midst the snapshot was taken.
    if not before.compacting and (before.count, before.sha256) != (after.count, after.sha256):
        found.append(
            f"it has {after.count} revisions with SHA-256 {after.sha256[:16]}..., and the snapshot {before.count} with "
            f"{before.sha256[:16]}..."
        )
    return found


def last(spec: Spec, addresses: Sequence[str]) -> dict[str, Any]:
    """The last proved restore as `proved`, and the failed drill after it, if there is one, as `failed`.

    Raises:
        NodeError: the members do not answer.
    """
    return last_in(lease.find(spec, addresses, LAST))


def last_in(found: lease.Held | None) -> dict[str, Any]:
    """The same, of the key LAST."""
    value = found.value if found is not None else {}
    # Other clients can write to etcd, too.
    parts = {name: value.get(name) for name in ("proved", "failed")}
    return {name: part for (name, part), form in zip(parts.items(), (_PROVED, _FAILED)) if _has_form(part, form)}


def _has_form(part: object, form: Mapping[str, type]) -> bool:
    if not isinstance(part, dict):
        return False
    times = [part.get("at"), part.get("taken", 0)]
    if any(type(at) is not int or not 0 <= at < _LATEST for at in times):
        return False
    return all(type(part.get(key)) is kind for key, kind in form.items())


def remember(spec: Spec, addresses: Sequence[str], value: Mapping[str, Any]) -> None:
    """Records it in etcd, for every member's `status`. A member may restart just now, so this is tried for a minute.

    Raises:
        NodeError: etcd does not accept it.
    """
    words = ["put", LAST, json.dumps(value)]
    for _ in until(_ASK_SECONDS, every=3.0):
        with contextlib.suppress(NodeError):
            etcd.etcdctl(spec, addresses, words)
            return
    etcd.etcdctl(spec, addresses, words)
