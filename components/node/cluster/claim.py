"""One operator at a time changes a cluster, whichever machines their runs are at.

The claim is a key in the cluster itself, so every operator that can change the cluster can see it. It is bound to a
lease, so what an interrupted run has left expires by itself. The lock of a machine (`lock`) keeps two verbs apart, for
minutes; the claim keeps two operators apart, for a whole update.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..protocol import etcd
from ..service import certificates, manager
from ..shared.errors import NodeError
from ..shared.say import phase
from ..shared.spec import Bundle, Operator, Spec
from . import lease

KEY = "external-etcd/operator"
LEASE_SECONDS = 240
"""Longer than the usual time limit of a verb that changes the cluster, so one claim lasts for the whole verb. Longer
steps (a snapshot of much data) renew it.
"""
_RENEWAL_SECONDS = 60.0


@dataclass(frozen=True)
class Holder:
    """The holder of the claim."""

    operator: Operator
    since: str
    """When this holder's change began, RFC 3339."""
    lease: int

    def __str__(self) -> str:
        return f"{self.operator.by} (operator {self.operator.id}) since {self.since}"


class Claim:
    """The claim of this operator on the cluster that the specification names.

    Args:
        operator: whose run this is; None: unknown, so nothing is claimed.
    """

    def __init__(self, spec: Spec, operator: Operator | None) -> None:
        self._spec = spec
        self._operator = operator
        self._held = False

    def before_writing(self, bundle: Bundle) -> None:
        """Claims the cluster if the certificates of a running member are about to change.

        Raises:
            NodeError: another operator holds it; nothing was written.
        """
        if self._operator is None or not certificates.differ(bundle) or not manager.show().runs:
            return
        try:
            answering, _ = etcd.with_quorum(self._spec, self._spec.members)
        except NodeError:
            return  # the installed certificate is unusable for requests, so it must be replaced
        self.hold([address for address, _ in answering])

    def hold(self, addresses: Sequence[str]) -> None:
        """Claims the cluster for this operator, or renews the claim; once per verb is enough.

        Without a quorum nothing is claimed: no step restarts a member or changes membership without one. The same holds
        if the database is full: etcd accepts no key, and the alarm forbids every such step but a higher quota.

        Args:
            addresses: members that read through the quorum.

        Raises:
            NodeError: another operator holds it; nothing was changed.
        """
        if self._operator is None or self._held or not addresses:
            return
        phase("claim the cluster")
        holder = holder_of(self._spec, addresses)
        if holder is None or (self._is_mine(holder) and not lease.renew(self._spec, addresses, holder.lease)):
            holder = self._take(addresses)
        if holder is not None and not self._is_mine(holder):
            raise NodeError(
                f"another operator is changing this cluster: {holder}; nothing was changed",
                "Wait until that run has ended, then run again. The claim of an interrupted run expires by itself: "
                f"{_time_left(self._spec, addresses, holder)}.",
            )
        self._held = True
        if holder is not None:
            _keep_alive(self._spec, holder.lease)

    def release(self, addresses: Sequence[str]) -> None:
        """Gives the claim back if it is this operator's."""
        if self._operator is None or not addresses:
            return
        holder = holder_of(self._spec, addresses)
        if holder is not None and self._is_mine(holder):
            lease.give_back(self._spec, addresses, holder.lease)

    def _is_mine(self, holder: Holder) -> bool:
        return self._operator is not None and holder.operator.id == self._operator.id

    def _take(self, addresses: Sequence[str]) -> Holder | None:
        """Makes the claim; returns its present holder, None if the database is too full for one."""
        assert self._operator is not None  # noqa: S101  hold has seen to it
        value = {
            "operator": self._operator.id,
            "by": self._operator.by,
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        try:
            return holder_in(lease.take(self._spec, addresses, KEY, value, LEASE_SECONDS))
        except lease.FullError:
            return None


def _keep_alive(spec: Spec, lease_id: int) -> None:
    """Renews the lease now and then for as long as this process lives."""

    def renew() -> None:
        while True:
            time.sleep(_RENEWAL_SECONDS)
            with contextlib.suppress(NodeError):
                lease.renew(spec, list(spec.members.values()), lease_id)

    threading.Thread(target=renew, daemon=True).start()


def holder_of(spec: Spec, addresses: Sequence[str]) -> Holder | None:
    """The present holder of the claim; None if there is none.

    Args:
        addresses: members that read through the quorum.

    Raises:
        NodeError: they do not answer.
    """
    held = lease.find(spec, addresses, KEY)
    return holder_in(held) if held is not None else None


def holder_in(held: lease.Held) -> Holder:
    """The same, of the key KEY."""
    try:
        operator = Operator(str(held.value["operator"]), str(held.value["by"]))
        return Holder(operator, str(held.value["since"]), held.lease)
    except KeyError:
        return Holder(Operator("", "somebody unknown"), "an unknown time", held.lease)


def _time_left(spec: Spec, addresses: Sequence[str], holder: Holder) -> str:
    if not holder.lease:
        return f"this one does not, because it has no lease (`etcdctl del {KEY}`)"
    left = lease.seconds_left(spec, addresses, holder.lease, LEASE_SECONDS)
    return f"this one in {left} s, if that run does nothing until then"
