"""A key of etcd that has one holder at a time, and that expires by itself.

It is bound to a lease, so the key of an interrupted run disappears after a while. `addresses` are those of members that
read through the quorum.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.spec import Spec

_NOT_THERE = "lease not found"
_NO_SPACE = "database space exceeded"


class FullError(NodeError):
    """The database is full: etcd accepts no key."""


@dataclass(frozen=True)
class Held:
    """A key with a holder."""

    value: Mapping[str, Any]
    """What the holder has written; empty if it cannot be parsed."""
    lease: int
    """ID of the lease; 0: none, so the key does not expire."""


def find(spec: Spec, addresses: Sequence[str], key: str) -> Held | None:
    """The present holder of the key; None if there is none.

    Raises:
        NodeError: they do not answer.
    """
    _, found, _ = etcd.etcdctl(spec, addresses, ["get", key])
    rows = (found or {}).get("kvs") or []
    return _held(rows[0]) if rows else None


def find_all(spec: Spec, addresses: Sequence[str], prefix: str) -> dict[str, Held]:
    """Key -> its holder, for the keys with this prefix.

    Raises:
        NodeError: they do not answer.
    """
    _, found, _ = etcd.etcdctl(spec, addresses, ["get", "--prefix", prefix])
    return {text(row["key"]): _held(row) for row in (found or {}).get("kvs") or []}


def _held(row: Mapping[str, Any]) -> Held:
    try:
        value = json.loads(text(row.get("value", "")))
    except ValueError:
        value = None
    return Held(value if isinstance(value, dict) else {}, int(row.get("lease", 0)))


def take(spec: Spec, addresses: Sequence[str], key: str, value: Mapping[str, str], seconds: int) -> Held:
    """Takes the key if it is free; returns the present holder.

    Args:
        seconds: lifetime of the lease.

    Raises:
        FullError: the database is full.
        NodeError: etcd refuses for another reason, or does not answer.
    """
    code, granted, said = etcd.etcdctl(spec, addresses, ["lease", "grant", str(seconds)], check=False)
    if code != 0:
        kind = FullError if _NO_SPACE in said else NodeError
        raise kind(f"etcd did not accept the key {key}: {said}; nothing was changed", "Run again.")
    lease = int(granted["ID"])
    # If there is no such key, put it; atomically, even if others try at the same moment.
    transaction = f'create("{key}") = "0"\n\nput {key} \'{json.dumps(value)}\' --lease={lease:x}\n\n\n'
    _, done, _ = etcd.etcdctl(spec, addresses, ["txn"], stdin=transaction)
    if done.get("succeeded"):
        return Held(value, lease)
    give_back(spec, addresses, lease)
    # The faster one may have finished by now.
    return find(spec, addresses, key) or take(spec, addresses, key, value, seconds)


def renew(spec: Spec, addresses: Sequence[str], lease: int) -> bool:
    """Renews a lease; returns whether it still existed.

    Raises:
        NodeError: etcd refuses, or does not answer.
    """
    code, _, said = etcd.etcdctl(spec, addresses, ["lease", "keep-alive", "--once", f"{lease:x}"], check=False)
    if code != 0 and _NOT_THERE not in said:
        raise NodeError(f"a lease could not be renewed: {said}; nothing was changed", "Run again.")
    return code == 0


def give_back(spec: Spec, addresses: Sequence[str], lease: int) -> None:
    """Ends a lease, and so removes its key."""
    etcd.etcdctl(spec, addresses, ["lease", "revoke", f"{lease:x}"], check=False)


def seconds_left(spec: Spec, addresses: Sequence[str], lease: int, otherwise: int) -> int:
    """How many seconds a lease has left.

    Args:
        otherwise: text if the members do not answer.
    """
    _, found, _ = etcd.etcdctl(spec, addresses, ["lease", "timetolive", f"{lease:x}"], check=False)
    return max(int((found or {}).get("ttl", otherwise)), 0)


def text(encoded: str) -> str:
    """What etcdctl prints in base64; empty if it is not text."""
    try:
        return base64.b64decode(encoded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
