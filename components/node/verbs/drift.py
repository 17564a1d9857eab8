"""drift: what differs on this machine from what was installed, for people and for `pulumi up`."""

from __future__ import annotations

import json

from ..service import release
from ..shared import files, paths, spec
from ..shared.errors import NodeError
from ..steps import drift as differences


def drift(*, as_json: bool) -> str:
    """Compares; changes nothing but the mark by which the next `prepare` unpacks a damaged release again.

    Raises:
        NodeError: no member was started on this machine.
    """
    raw = files.read_json(paths.INSTALLED)
    if raw is None:
        raise NodeError("no member of external-etcd runs on this machine", "Run `pulumi up` to its end.")
    wanted = spec.parse(json.dumps(raw))
    found = differences.found(wanted)
    # Of a release, only programs are compared, and hashing them is most of the work.
    if any(line.startswith(f"{release.directory(wanted.release.version)}/") for line in found):
        release.distrust(wanted.release.version)
    if as_json:
        return json.dumps(found)
    return "\n".join(found) or "Nothing differs from what was installed."
