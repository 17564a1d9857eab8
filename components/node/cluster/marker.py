"""Which cluster this is, as a key in its own data: a snapshot of it can be told from one of another cluster."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocol import etcd
from ..protocol.snapshot_file import MARKER
from ..shared.spec import Spec
from .lease import text


def settle(spec: Spec, addresses: Sequence[str]) -> None:
    """Writes the name of the cluster, if it is not there; called when the cluster is healthy.

    Args:
        addresses: of members that read through the quorum.

    Raises:
        NodeError: they do not answer.
    """
    _, found, _ = etcd.etcdctl(spec, addresses, ["get", MARKER])
    if [text(row["value"]) for row in (found or {}).get("kvs") or []] != [spec.cluster]:
        etcd.etcdctl(spec, addresses, ["put", MARKER, spec.cluster])
