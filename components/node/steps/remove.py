"""Remove the members that an edit removed from the list. Their machines are retired afterwards.

Only members of this program are removed: those on the list that was installed here before, and those that the cluster's
own record names (`roster`). Members that others added are left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ..cluster import leadership, membership, quorum_gate, quorum_rules, roster
from ..cluster.claim import Claim
from ..protocol import etcd, versions
from ..shared import files, paths
from ..shared.say import phase, refuse_abandoned, say
from ..shared.spec import Spec


def remove_gone(spec: Spec, witnesses: Sequence[str], quorum: etcd.Membership | None, claim: Claim) -> bool:
    """Removes one after another, as far as it is safe now.

    It comes before every other step of a member, because a restart forgets the old list. While members are still to
    join in the same edit, only those are removed that no quorum needs; members with a later turn remove the rest.

    Args:
        witnesses: addresses of members that read through the quorum.
        quorum: their member list.
        claim: taken before the first removal.

    Returns:
        Whether any was removed; the member list is out of date then.

    Raises:
        NodeError: the next removal is not safe now; that member was not removed.
    """
    before = files.read_json(paths.INSTALLED) or {}
    recorded = {name: address for name, address in before.get("members", {}).items() if name not in spec.members}
    gone = dict(recorded)
    if quorum is not None:
        gone |= roster.unknown(spec, witnesses, quorum, gone)
    everyone = replace(spec, members={**spec.members, **gone})
    staying = {name: spec.peer_url(address) for name, address in spec.members.items()}
    urls = {name: spec.peer_url(address) for name, address in gone.items()}
    removed = False
    for _ in gone:
        refuse_abandoned()
        cluster = etcd.member_list(spec, witnesses)
        entries = leaving(urls, staying, cluster)
        if not entries:
            break
        claim.hold(witnesses)
        phase(f"remove {', '.join(gone)} from the cluster")
        voters, statuses = quorum_gate.poll(everyone, cluster)
        versions.refuse_mixed(
            f"{', '.join(gone)} would leave the cluster", {name: status.version for name, status in statuses.items()}
        )
        leader = _leader(cluster, statuses)
        entry = next_to_leave(entries, voters, leader)
        slot = next(name for name, url in urls.items() if entry in cluster.of_slot(name, url))
        lost = slot in recorded and any(voter.name == entry.name and voter.trouble for voter in voters)
        if not lost and stays_for_now(entry, spec.members, cluster):
            break
        rule = partial(quorum_rules.refuse_leaving, entry, list(spec.members))
        rule(voters)
        if entry.name == leader and leader not in statuses and leader not in recorded:
            # A member that has just joined may not reach the leader, and could not move leadership: the others can.
            break
        if entry.name == leader and leader in statuses:
            heirs = [voter for voter in voters if voter.name in spec.members]
            leadership.hand_over(
                everyone, leader, cluster, (heirs, statuses), rule, untouched=f"{slot} was not removed"
            )
        membership.remove(spec, witnesses, entry, f"remove {slot}")
        roster.forget(spec, witnesses, slot)
        say(f"{slot} has left the cluster")
        removed = True
    return removed


def _leader(cluster: etcd.Membership, statuses: Mapping[str, etcd.Status]) -> str:
    """The name of the leader, as members report it; empty if none does."""
    led = {status.leader for status in statuses.values()}
    return next((entry.name for entry in cluster.voters if entry.id in led), "")


def leaving(gone: Mapping[str, str], staying: Mapping[str, str], cluster: etcd.Membership) -> list[etcd.Member]:
    """The entries of members that an edit removed from the list.

    Their address may belong to another member by now, which stays: an update that did not reach this machine removed
    them already.

    Args:
        gone: name -> peer URL of those that were on the list.
        staying: name -> peer URL of those that are on it.
    """
    stay = {entry.id for name, url in staying.items() for entry in cluster.of_slot(name, url)}
    found = {entry.id: entry for name, url in gone.items() for entry in cluster.of_slot(name, url)}
    return [entry for entry in found.values() if entry.id not in stay]


def next_to_leave(entries: Sequence[etcd.Member], voters: Sequence[quorum_rules.Voter], leader: str) -> etcd.Member:
    """The entry that is removed first: a learner before a voter, a sick voter before a healthy one, the leader last.

    Args:
        entries: of those that leave, at least one.
    """
    sick = {voter.name for voter in voters if voter.trouble}
    return min(entries, key=lambda entry: (entry.name == leader, not entry.learner, entry.name not in sick, -entry.id))


def stays_for_now(entry: etcd.Member, desired: Collection[str], cluster: etcd.Membership) -> bool:
    """Whether this entry stays until every member that the same edit adds is a voter.

    A learner goes first: no quorum needs it, and etcd adds only one at a time.

    Args:
        desired: names of all members of the desired configuration.
    """
    return not entry.learner and not set(desired) <= {each.name for each in cluster.voters}
