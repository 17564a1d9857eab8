"""Whose turn it is to take a snapshot, and the last one that is kept elsewhere: two keys of etcd.

The turn is a key with a lease, so the one of a member that dies while it works ends by itself, and another one takes
over. etcd decides; the machines' clocks do not.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..cluster import lease
from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.say import time_left
from ..shared.spec import Spec

KEY = "external-etcd/snapshot-turn"
LAST = "external-etcd/snapshot-last"
LEASE_SECONDS = 15
_LATEST = 1 << 33
_RENEWAL_SECONDS = 4.0


@dataclass(frozen=True)
class Turn:
    """This member's turn."""

    spec: Spec
    addresses: Sequence[str]
    lease: int


def ask(spec: Spec) -> tuple[list[str], etcd.Status]:
    """The members that read through the quorum, this one first, and its own status.

    Raises:
        NodeError: this one does not, so it has no turn.
    """
    answering, silence = etcd.with_quorum(spec, spec.members)
    addresses = [address for address, _ in answering]
    status = etcd.statuses(spec, {spec.member: spec.address}).get(spec.member)
    if spec.address not in addresses or status is None:
        raise NodeError(
            f"this member does not read through the quorum ({silence or 'no status'})",
            "See `journalctl -u etcd`; the other members take snapshots meanwhile, if they have a quorum.",
        )
    return [spec.address, *(each for each in addresses if each != spec.address)], status


def take(spec: Spec, addresses: Sequence[str]) -> Turn | None:
    """Takes the turn if it is free; None if another member has it.

    Args:
        addresses: members that read through the quorum, this one first.

    Raises:
        FullError: the database is full.
        NodeError: etcd does not answer.
    """
    held = lease.find(spec, addresses, KEY)
    if held is not None and held.value.get("member") != spec.member:
        return None
    if held is not None:
        # This machine's lock is ours, so the process that took it is dead.
        lease.give_back(spec, addresses, held.lease)
    held = lease.take(spec, addresses, KEY, {"member": spec.member}, LEASE_SECONDS)
    return Turn(spec, addresses, held.lease) if held.value.get("member") == spec.member else None


def holder(spec: Spec, addresses: Sequence[str]) -> str:
    """The member that has the turn; empty if none has.

    Raises:
        NodeError: the members do not answer.
    """
    held = lease.find(spec, addresses, KEY)
    return "" if held is None else str(held.value.get("member", ""))


@contextlib.contextmanager
def kept(turn: Turn) -> Iterator[None]:
    """Renews the turn during the block, and gives it back at its end, however it ends.

    Nothing ends a block that hangs in the kernel, as with a share whose server is gone. When its time is over, its turn
    ends all the same.
    """
    done, limited = threading.Event(), time_left() > 0

    def renew() -> None:
        while not done.wait(_RENEWAL_SECONDS):
            if limited and not time_left():
                return
            with contextlib.suppress(NodeError):
                lease.renew(turn.spec, turn.addresses, turn.lease)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(_RENEWAL_SECONDS)
        with contextlib.suppress(NodeError):
            lease.give_back(turn.spec, turn.addresses, turn.lease)


def last(spec: Spec, addresses: Sequence[str]) -> Mapping[str, Any] | None:
    """The last snapshot that is kept elsewhere, as `remember` has it; None if there was none, or it cannot be read.

    Raises:
        NodeError: the members do not answer.
    """
    return last_in(lease.find(spec, addresses, LAST))


def last_in(found: lease.Held | None) -> Mapping[str, Any] | None:
    """The same, of the key LAST."""
    value = found.value if found is not None else {}
    # Other clients can write to etcd, too.
    taken = value.get("taken")
    known = isinstance(taken, (int, float)) and 0 <= taken < _LATEST and {"name", "place", "member", "keys"} <= {*value}
    return value if known else None


def remember(spec: Spec, addresses: Sequence[str], value: Mapping[str, Any]) -> None:
    """Records the last snapshot in etcd, for every member's `status`.

    Raises:
        NodeError: etcd does not accept it.
    """
    etcd.etcdctl(spec, addresses, ["put", LAST, json.dumps(value)])
