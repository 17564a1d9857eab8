"""Which members of the cluster are this program's, as the cluster itself records it.

A machine records the list of members when an update reaches it. A new member may join before that. If the update ends
there and is undone, no machine that stays knows of the new member, and the new member does not know which one was to
leave for it. Without this record neither could be removed: it could belong to someone else.

`addresses` are those of members that read through the quorum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..protocol import etcd
from ..shared.spec import Spec
from .lease import text

PREFIX = "external-etcd/joined/"
"""A key of etcd per member that has joined or is about to; its value is the member's address."""


def note(spec: Spec, addresses: Sequence[str]) -> None:
    """Records that this member is about to join.

    Raises:
        NodeError: they do not answer.
    """
    etcd.etcdctl(spec, addresses, ["put", PREFIX + spec.member, spec.address])


def forget(spec: Spec, addresses: Sequence[str], name: str) -> None:
    """Removes a member that has left from the record."""
    etcd.etcdctl(spec, addresses, ["del", PREFIX + name], check=False)


def settle(spec: Spec, addresses: Sequence[str]) -> None:
    """Makes the record name the members of the desired configuration and no others; called when the cluster is healthy.

    Raises:
        NodeError: they do not answer.
    """
    there = noted(spec, addresses)
    changes = [f"put {PREFIX}{name} {address}" for name, address in spec.members.items() if there.get(name) != address]
    changes += [f"del {PREFIX}{name}" for name in there if name not in spec.members]
    if changes:
        # Three lists, each ended by an empty line: compared is nothing, so the second one is done, as a whole.
        etcd.etcdctl(spec, addresses, ["txn"], stdin="\n".join(["", *changes, "", "", ""]))


def everyone(spec: Spec, addresses: Sequence[str], cluster: etcd.Membership) -> Spec:
    """The desired configuration, and with it the members of this program that are to leave and are still there.

    Raises:
        NodeError: the members do not answer.
    """
    return replace(spec, members={**spec.members, **unknown(spec, addresses, cluster, {})})


def unknown(spec: Spec, addresses: Sequence[str], cluster: etcd.Membership, known: Mapping[str, str]) -> dict[str, str]:
    """Recorded members that this machine does not know: name -> address; empty when it knows every entry of the list.

    Args:
        known: name -> address of those that it knows in addition to the desired configuration.

    Raises:
        NodeError: the members do not answer.
    """
    ours = {
        entry.id
        for name, address in {**known, **spec.members}.items()
        for entry in cluster.of_slot(name, spec.peer_url(address))
    }
    if all(entry.id in ours for entry in cluster.members):
        return {}
    return {name: address for name, address in noted(spec, addresses).items() if name not in {**known, **spec.members}}


def learners(spec: Spec, addresses: Sequence[str], cluster: etcd.Membership) -> dict[str, etcd.Member]:
    """The other recorded members that are learners: name -> entry.

    Raises:
        NodeError: the members do not answer.
    """
    own = cluster.of_slot(spec.member, spec.peer_url(spec.address))
    if not any(entry.learner and entry not in own for entry in cluster.members):
        return {}
    return {
        name: entry
        for name, address in noted(spec, addresses).items()
        if name != spec.member
        for entry in cluster.of_slot(name, spec.peer_url(address))
        if entry.learner
    }


def noted(spec: Spec, addresses: Sequence[str]) -> dict[str, str]:
    """The recorded members, name -> address: those that have joined, or were about to when a run was interrupted.

    Raises:
        NodeError: the members do not answer.
    """
    _, found, _ = etcd.etcdctl(spec, addresses, ["get", "--prefix", PREFIX])
    return {text(row["key"])[len(PREFIX) :]: text(row["value"]) for row in (found or {}).get("kvs") or []}
