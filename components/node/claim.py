"""claim: one operator at a time changes a cluster, whichever machines their runs are at.

The claim is a key in the cluster itself, so whoever may change the cluster can see it, and nothing else has to be
there. It hangs on a lease: what a run that was cut off has left lapses by itself. The machine's own lock (`lock`) keeps
two verbs apart on one machine, for minutes; this one keeps two operators apart, for a whole update.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import certificates, etcd, systemd
from .errors import NodeError
from .say import phase
from .spec import Bundle, Operator, Spec

KEY = "external-etcd/operator"
LEASE_SECONDS = 240
"""Longer than any verb may take that changes the cluster: who has claimed at its beginning holds it until its end."""
_NOT_THERE = "lease not found"
_NO_SPACE = "database space exceeded"


@dataclass(frozen=True)
class Holder:
    """Who holds the claim."""

    operator: Operator
    since: str
    """When this holder's change began, RFC 3339."""
    lease: int

    def __str__(self) -> str:
        return f"{self.operator.by} (operator {self.operator.id}) since {self.since}"


class Claim:
    """The claim of this operator on the cluster that the specification names.

    Args:
        spec: the cluster.
        operator: whose run this is; None: nobody who could be told apart, so nothing is claimed.
    """

    def __init__(self, spec: Spec, operator: Operator | None) -> None:
        self._spec = spec
        self._operator = operator
        self._held = False

    def before_writing(self, bundle: Bundle) -> None:
        """Claims the cluster if other certificates than those that are there are about to reach a living member.

        Raises:
            NodeError: somebody else holds it; nothing was written.
        """
        if self._operator is None or not certificates.differ(bundle) or not systemd.show().runs:
            return
        try:
            answering, _ = etcd.with_quorum(self._spec, self._spec.members)
        except NodeError:
            return  # what is there is no certificate that anybody could ask with: it has to be replaced
        self.hold([address for address, _ in answering])

    def hold(self, addresses: Sequence[str]) -> None:
        """Claims the cluster for this operator, or renews the claim; once per verb is enough.

        Without a quorum there is nothing to claim: no step that restarts or changes membership is taken without one.
        The same holds when the database is full: etcd takes no key, and the members' health forbids every such step.

        Args:
            addresses: members that read through the quorum.

        Raises:
            NodeError: somebody else holds it; nothing was changed.
        """
        if self._operator is None or self._held or not addresses:
            return
        phase("claim the cluster")
        holder = holder_of(self._spec, addresses)
        if holder is not None and holder.operator.id == self._operator.id and self._renew(addresses, holder):
            holder = None
        elif holder is None or holder.operator.id == self._operator.id:
            holder = self._take(addresses)
        if holder is not None and holder.operator.id != self._operator.id:
            raise NodeError(
                f"another operator is changing this cluster: {holder}; nothing was changed",
                "Wait until that run has ended, then run again. What a run that was cut off has left lapses by "
                f"itself: {_time_left(self._spec, addresses, holder)}.",
            )
        self._held = True

    def release(self, addresses: Sequence[str]) -> None:
        """Gives the claim back if it is this operator's."""
        if self._operator is None or not addresses:
            return
        holder = holder_of(self._spec, addresses)
        if holder is not None and holder.operator.id == self._operator.id:
            etcd.etcdctl(self._spec, addresses, ["lease", "revoke", f"{holder.lease:x}"], check=False)

    def _renew(self, addresses: Sequence[str], holder: Holder) -> bool:
        code, _, said = etcd.etcdctl(
            self._spec, addresses, ["lease", "keep-alive", "--once", f"{holder.lease:x}"], check=False
        )
        if code != 0 and _NOT_THERE not in said:
            raise NodeError(f"the claim on the cluster could not be renewed: {said}; nothing was changed", "Run again.")
        return code == 0

    def _take(self, addresses: Sequence[str]) -> Holder | None:
        """Makes the claim; returns who was faster, None when nobody was."""
        assert self._operator is not None  # noqa: S101  hold has seen to it
        code, granted, said = etcd.etcdctl(self._spec, addresses, ["lease", "grant", str(LEASE_SECONDS)], check=False)
        if code != 0 and _NO_SPACE in said:
            return None
        if code != 0:
            raise NodeError(f"the cluster could not be claimed: {said}; nothing was changed", "Run again.")
        lease = int(granted["ID"])
        value = {
            "operator": self._operator.id,
            "by": self._operator.by,
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        # If there is no such key, put it; all or nothing, whoever else tries at the same moment.
        transaction = f'create("{KEY}") = "0"\n\nput {KEY} \'{json.dumps(value)}\' --lease={lease:x}\n\n\n'
        _, done, _ = etcd.etcdctl(self._spec, addresses, ["txn"], stdin=transaction)
        if done.get("succeeded"):
            return None
        etcd.etcdctl(self._spec, addresses, ["lease", "revoke", f"{lease:x}"], check=False)
        return holder_of(self._spec, addresses)


def holder_of(spec: Spec, addresses: Sequence[str]) -> Holder | None:
    """Who holds the claim now, None when nobody does.

    Args:
        spec: the cluster.
        addresses: members that read through the quorum.

    Raises:
        NodeError: they do not answer.
    """
    _, found, _ = etcd.etcdctl(spec, addresses, ["get", KEY])
    rows = (found or {}).get("kvs") or []
    return _holder(rows[0]) if rows else None


def _holder(row: dict[str, Any]) -> Holder:
    try:
        value = json.loads(base64.b64decode(row["value"]))
        operator = Operator(str(value["operator"]), str(value["by"]))
        return Holder(operator, str(value["since"]), int(row.get("lease", 0)))
    except (KeyError, TypeError, ValueError):
        return Holder(Operator("", "somebody unknown"), "an unknown time", int(row.get("lease", 0)))


def _time_left(spec: Spec, addresses: Sequence[str], holder: Holder) -> str:
    if not holder.lease:
        return f"this one does not, as it has no lease (`etcdctl del {KEY}`)"
    _, found, _ = etcd.etcdctl(spec, addresses, ["lease", "timetolive", f"{holder.lease:x}"], check=False)
    left = int((found or {}).get("ttl", LEASE_SECONDS))
    return f"this one in {max(left, 0)} s, if that run does no more until then"
