"""One member at a time restarts or is defragmented, even if two runs from one state are alive (`pulumi cancel`).

The claim keeps other operators out, and both of these runs are its owner's. Each would find the member of the other one
healthy until that one stops. So a member that restarts, or is defragmented, holds a key. Its lease is short and renewed
meanwhile: after a machine or a run has died, the next run waits for seconds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.say import more_time, phase, say, until
from ..shared.spec import Spec
from . import lease

KEY = "external-etcd/restart"
LEASE_SECONDS = 6
_WAIT_SECONDS = 30.0
_MOST_SECONDS = 1800.0


@contextlib.contextmanager
def alone(spec: Spec, addresses: Sequence[str], *, seconds: float = 0) -> Iterator[None]:
    """Context for the restart or defragmentation of this member, in which no other one has its own.

    In a cluster of one, or with a full database (which accepts no key), there is no such key.

    Args:
        addresses: members that read through the quorum.
        seconds: how long others must wait for this turn, if it may take more than 30 s.

    Raises:
        NodeError: another member still has its turn after that time; nothing was restarted.
    """
    if not spec.others or not addresses:
        yield
        return
    phase("wait until no other member restarts")
    mine = {"member": spec.member, "run": os.urandom(8).hex(), "seconds": f"{seconds:.0f}"}
    ours = None
    with contextlib.suppress(lease.FullError):
        ours = _take(spec, addresses, mine)
    over = threading.Event()
    if ours is not None:
        threading.Thread(target=_keep, args=(spec, ours, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        if ours is not None:
            with contextlib.suppress(NodeError):
                lease.give_back(spec, [spec.address, *spec.others.values()], ours)


def defragmentation(spec: Spec) -> tuple[str, float]:
    """The member that is being defragmented, if one is, and for how many seconds that may take; otherwise "" and 0."""
    with contextlib.suppress(NodeError):
        answering, _ = etcd.with_quorum(spec, spec.members)
        held = lease.find(spec, [address for address, _ in answering], KEY) if answering else None
        if held is not None and _said(held) > _WAIT_SECONDS:
            return str(held.value.get("member", "a member")), _said(held)
    return "", 0.0


def _take(spec: Spec, addresses: Sequence[str], mine: Mapping[str, str]) -> int:
    """Waits for the turn; returns its lease.

    Raises:
        NodeError: another one had it for longer than it had said.
    """
    begun, other, most = time.monotonic(), "", _WAIT_SECONDS
    for _ in until(_MOST_SECONDS, every=0.5):
        held = lease.take(spec, addresses, KEY, mine, LEASE_SECONDS)
        if held.value == mine:
            return held.lease
        if held.value.get("run", "") != other:
            begun, other, most = time.monotonic(), str(held.value.get("run", "")), _said(held)
            if most > _WAIT_SECONDS:
                more_time(most)
                say(f"waits up to {most:.0f} s until {held.value.get('member')} has been defragmented")
        if time.monotonic() - begun >= most:
            break
    raise NodeError(
        f"another run restarts or defragments {held.value.get('member', 'another member')} now; nothing was restarted",
        "Wait until that run has ended, then run again.",
    )


def _said(held: lease.Held) -> float:
    """For how long its holder wants to be waited for, in seconds; a restart by an earlier version does not say."""
    try:
        return min(max(_WAIT_SECONDS, float(held.value.get("seconds", 0))), _MOST_SECONDS)
    except (TypeError, ValueError):
        return _WAIT_SECONDS


def _keep(spec: Spec, lease_id: int, over: threading.Event) -> None:
    while not over.wait(LEASE_SECONDS / 3):
        with contextlib.suppress(NodeError):
            lease.renew(spec, list(spec.others.values()), lease_id)
