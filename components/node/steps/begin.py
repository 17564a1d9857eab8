"""Begin as an initial member of a new cluster, if this machine may and none exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..data import directory, identity, permission
from ..data.identity import Identity
from ..machine import network
from ..protocol import etcd, wal
from ..service import certificates, manager, member, unit
from ..shared.errors import NodeError
from ..shared.say import phase, say
from ..shared.spec import Bundle, Spec


def begin(spec: Spec, bundle: Bundle, known: Identity, ours: Identity) -> tuple[Identity, bool]:
    """Starts etcd without data, if `bootstrap` has permitted it and a new cluster is safe; waits for no quorum.

    Args:
        known: the record of this machine.
        ours: the one that it gets.

    Returns:
        Its record afterwards, and whether it has begun here and now.

    Raises:
        NodeError: another cluster is in the way, or etcd does not start.
    """
    permitted = permission.given(spec, known)
    # In a migration the cluster exists: that of the stacked members.
    if permitted is None or spec.stacked:
        permission.spend()
        return known, False
    token, initial = permitted
    directory.refuse_unknown_data(spec, known)
    now = manager.show()
    if now.runs or now.active == "activating":
        manager.stop()  # left by an interrupted run: a process without a log
        if wal.exists(spec.data_directory):
            # It had one before it ended, and may have voted: without these data it would vote again.
            return known, False
    unfinished = directory.move_aside(spec, "unfinished")
    if unfinished is not None:
        say(f"moved the data of an unfinished start aside to {unfinished}")
    certificates.install(bundle)
    phase("ask the other members")
    views = _views(spec)
    if not may_begin(spec.member, spec.peer_url(spec.address), views):
        say(f"the cluster exists ({', '.join(views)} answered): joins it")
        # Also if the others are silent when this run is repeated.
        permission.spend()
        return known, False
    gone = [f"{name} ({address})" for name, address in initial.items() if spec.members.get(name) != address]
    permission.refuse_without(gone)
    phase("start etcd as an initial member")
    ours = replace(ours, machine=bundle.identity)
    identity.save(ours)
    network.end()
    try:
        member.begin(spec, unit.bootstrap({name: spec.peer_url(each) for name, each in initial.items()}, token=token))
    except NodeError:
        if not wal.exists(spec.data_directory):
            # No member has started here, so nothing binds this machine to this cluster. Etcd's beginnings go first: a
            # machine that holds no member refuses data.
            directory.move_aside(spec, "unfinished")
            identity.save(known)
        raise
    identity.record(ours)
    permission.spend()
    say("started")
    return ours, True


def _views(spec: Spec) -> dict[str, etcd.Membership]:
    """The member lists of the other members that answer.

    Raises:
        NodeError: a server with another CA answers at a member's address.
    """
    views = {}
    for name, answer in etcd.each(lambda address: etcd.peer_view(spec, address, connect=1.0), spec.others).items():
        if isinstance(answer, etcd.AlienError):
            raise NodeError(
                f"{name} ({spec.members[name]}) runs an etcd that does not belong to this stack: {answer}; "
                "nothing was started",
                "If the cluster there is to stay, run from the stack that made it; if not, retire it there first "
                "(`etcd-node retire`).",
            )
        if isinstance(answer, etcd.Membership):
            views[name] = answer
    return views


def may_begin(member: str, peer_url: str, views: Mapping[str, etcd.Membership]) -> bool:
    """Whether this member, which has no data, may begin the cluster with the others.

    An entry without client URLs proves that it never ran: a member publishes them as soon as it has a leader.

    Args:
        views: the member lists of the others that answered.
    """
    entries = [view.of_slot(member, peer_url) for view in views.values()]
    return all(mine and not any(entry.started or entry.learner for entry in mine) for mine in entries)
