"""Join the cluster that exists: as a learner, with an empty data directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from ..cluster import membership, quorum_gate, quorum_rules, roster
from ..data import directory, identity
from ..data.identity import Identity
from ..machine import network, nftables
from ..protocol import etcd, versions, wal
from ..service import manager, member, unit
from ..shared.errors import NodeError
from ..shared.say import phase, say
from ..shared.spec import Spec
from ..upgrade import old_entries
from . import migration
from .look import Look


def join(spec: Spec, ours: Identity, look: Look) -> None:
    """Removes this member's old entry, adds it as a learner, and starts it. Old data are moved aside.

    The old entry always goes first: under its ID the member would be a voter that has forgotten its votes.

    Args:
        ours: the identity that the machine gets.
        look: a look that found a quorum.

    Raises:
        NodeError: it must not join now, or the members cannot reach it, or its etcd does not start.
    """
    peer_url = spec.peer_url(spec.address)
    witnesses = look.witnesses
    # Read the member list again, through the quorum and not from one member's memory, because it decides the change.
    cluster = etcd.member_list(spec, witnesses)
    noted = roster.noted(spec, witnesses)
    stale = _stale(spec, cluster, noted)
    voters, statuses = quorum_gate.poll(spec, cluster)
    rule = partial(quorum_rules.refuse_removal, spec.member, removed=sum(1 for entry in stale if not entry.learner))
    rule(voters)
    running = {name: status.version for name, status in statuses.items() if name != spec.member}
    versions.refuse_version(spec.release.version, running)
    versions.refuse_joining_version(spec.member, spec.release.version, running)
    if not stale and spec.member not in noted:
        versions.refuse_mixed(f"{spec.member} would join the cluster", running)
    if spec.stacked:
        migration.before_join(spec, voters, statuses)
    directory.check_room(spec, max((status.db_size for status in statuses.values()), default=0))
    old_entries.move_leadership(spec, cluster, (voters, statuses), rule)

    manager.stop()
    owner = wal.owner(spec.data_directory) if wal.exists(spec.data_directory) else None
    if owner is not None and cluster.by_id(owner.member_id) is not None and not look.situation.forgets:
        raise NodeError(
            f"{spec.member}: the data directory now holds a current member of the cluster; nothing was changed",
            "Run again.",
        )
    moved = directory.move_aside(spec, "removed")
    if moved is not None:
        say(f"data moved aside to {moved}")
    roster.note(spec, witnesses)
    for entry in stale:
        membership.remove(spec, witnesses, entry, "remove its stale entry")
        say(f"removed its stale entry {entry.id:x}")
    identity.save(replace(ours, cluster_id=f"{cluster.cluster_id:x}", member_id=""))
    _remove_other_learners(spec, witnesses, cluster)
    healthy = [voter.name for voter in voters if not voter.trouble]
    _add(spec, witnesses, peer_url, {name: spec.others[name] for name in healthy if name in spec.others})
    now = etcd.member_list(spec, witnesses)
    initial = {
        entry.name or (spec.member if peer_url in entry.peer_urls else f"unstarted-{entry.id:x}"): entry.peer_urls[0]
        for entry in now.members
    }
    phase("start as a learner")
    member.begin(spec, unit.bootstrap(initial), seconds=30)
    say("joined as a learner")


def _stale(spec: Spec, cluster: etcd.Membership, noted: Mapping[str, str]) -> list[etcd.Member]:
    """The entries of this member that an earlier one at its place, or an interrupted run, has left.

    Raises:
        NodeError: its address belongs to a member of another name.
    """
    stale = [*cluster.of_slot(spec.member, spec.peer_url(spec.address))]
    # One that never started has no name, and may have been added at an address that the member no longer has.
    before = spec.peer_url(noted.get(spec.member, spec.address))
    stale += [entry for entry in cluster.members if before in entry.peer_urls and not entry.name and entry not in stale]
    for entry in stale:
        if entry.name not in ("", spec.member):
            raise NodeError(
                f"the address {spec.address} of {spec.member} belongs to the member {entry.name} of the cluster; "
                "nothing was changed",
                f"Keep the name {entry.name} for this address, or give {spec.member} another.",
            )
    return stale


def _remove_other_learners(spec: Spec, witnesses: Sequence[str], cluster: etcd.Membership) -> None:
    """Removes the learner that an interrupted run has left: etcd adds only one at a time.

    No quorum needs it. If it is still in the configuration, its own turn comes later in this update.
    """
    for name, entry in roster.learners(spec, witnesses, cluster).items():
        membership.remove(spec, witnesses, entry, f"remove the learner {name}")
        if name not in spec.members:
            roster.forget(spec, witnesses, name)
        say(f"removed the learner {name}, which an interrupted run had left")


def _add(spec: Spec, witnesses: Sequence[str], peer_url: str, expected: Mapping[str, str]) -> None:
    """Adds this member as a learner, and removes it again if the members cannot reach it.

    Args:
        expected: healthy members, name -> address; each of them dials a new member at once.

    Raises:
        NodeError: etcd does not add it, or one of them cannot reach it.
    """
    doorbell = network.Doorbell(spec)
    try:
        membership.add_learner(spec, witnesses, peer_url)
        nftables.admit(spec, etcd.member_list(spec, witnesses))
        unheard = doorbell.unheard(expected)
    except membership.FullError:
        quorum_rules.refuse_another_learner(spec.member, etcd.member_list(spec, witnesses))
        raise
    finally:
        doorbell.close()
    if unheard:
        for entry in etcd.member_list(spec, witnesses).of_slot(spec.member, peer_url):
            membership.remove(spec, witnesses, entry, "remove it again")
        raise NodeError(
            f"{spec.member} was not added to the cluster: {'; '.join(unheard)}",
            f"On every member, ports {spec.client_port} and {spec.peer_port} must be open to all members. Then run "
            "again.",
        )
