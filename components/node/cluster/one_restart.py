"""One member at a time restarts or is defragmented, even if two runs from one state are alive (`pulumi cancel`).

The claim keeps other operators out, and both of these runs are its owner's. Each would find the member of the other one
healthy until that one stops. So a member that restarts, or is defragmented, holds a key. Its lease is short and renewed
meanwhile: after a machine or a run has died, the next run waits for seconds.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence

from ..shared.errors import NodeError
from ..shared.say import phase, until
from ..shared.spec import Spec
from . import lease

KEY = "external-etcd/restart"
LEASE_SECONDS = 6
_WAIT_SECONDS = 30.0


@contextlib.contextmanager
def alone(spec: Spec, addresses: Sequence[str]) -> Iterator[None]:
    """Context for the restart or defragmentation of this member, in which no other one has its own.

    In a cluster of one, or with a full database (which accepts no key), there is no such key.

    Args:
        addresses: members that read through the quorum.

    Raises:
        NodeError: another member still has its turn after 30 s; nothing was restarted.
    """
    if not spec.others or not addresses:
        yield
        return
    phase("wait until no other member restarts")
    mine = {"member": spec.member, "run": os.urandom(8).hex()}
    ours = None
    with contextlib.suppress(lease.FullError):
        for _ in until(_WAIT_SECONDS, every=0.5):
            held = lease.take(spec, addresses, KEY, mine, LEASE_SECONDS)
            if held.value == mine:
                ours = held.lease
                break
        else:
            other = held.value.get("member", "another member")
            raise NodeError(
                f"another run restarts or defragments {other} now; nothing was restarted",
                "Wait until that run has ended, then run again.",
            )
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


def _keep(spec: Spec, lease_id: int, over: threading.Event) -> None:
    while not over.wait(LEASE_SECONDS / 3):
        with contextlib.suppress(NodeError):
            lease.renew(spec, list(spec.others.values()), lease_id)
