"""One planned disruption at a time: the machine that is released for replacement is recorded in the cluster.

A member that is asked judges by current health. Two members that are asked at the same moment would each count on the
other's machine, and the loss of both could cost the quorum. So a released machine is recorded until its member is back
or the lease expires. By then the other members see that it is unhealthy.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from ..shared.errors import NodeError
from ..shared.spec import Spec
from . import lease

KEY = "external-etcd/disruption"
LEASE_SECONDS = 300
"""Longer than any cloud takes to shut a machine down."""


def take(spec: Spec, addresses: Sequence[str], name: str) -> bool:
    """Records that the machine of this member is released for replacement.

    Returns:
        Whether the record is new; False if it existed, whose lease then starts again.

    Raises:
        NodeError: the machine of another member is released.
    """
    held = lease.find(spec, addresses, KEY)
    again = held is not None and held.value.get("member") == name
    if held is not None and again and lease.renew(spec, addresses, held.lease):
        return False
    if held is None or again:
        value = {"member": name, "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        held = lease.take(spec, addresses, KEY, value, LEASE_SECONDS)
    if held.value.get("member") == name:
        return True
    other = held.value.get("member", "another member")
    lapses = f"does not expire by itself, because it has no lease (`etcdctl del {KEY}`)"
    if held.lease:
        lapses = f"expires by itself in {lease.seconds_left(spec, addresses, held.lease, LEASE_SECONDS)} s"
    raise NodeError(
        f"the machine of {other} was released for replacement at {held.value.get('since', 'an unknown time')} and is "
        f"not back yet; the "
        f"machine of {name} stays as it is",
        f"Replace one machine at a time: restore the generation of {name}, run `pulumi up`, and raise it again when "
        f"{other} is back. If {other} was not replaced after all: this record {lapses}.",
    )


def give_back(spec: Spec, addresses: Sequence[str], name: str) -> None:
    """Removes the record if it is of this member; if that fails, it expires."""
    with contextlib.suppress(NodeError):
        held = lease.find(spec, addresses, KEY)
        if held is not None and held.value.get("member") == name:
            lease.give_back(spec, addresses, held.lease)
