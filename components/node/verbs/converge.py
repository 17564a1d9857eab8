"""converge: brings one member to its wanted state by the smallest safe steps, and proves the result.

It looks, takes one step, and looks again, until there is nothing left to do. Every step is decided from what is live
(process, log, member list), so a run that was cut off anywhere is finished by the next.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..cluster import decide, disruption, roster, rotation
from ..cluster.claim import Claim
from ..cluster.decide import Situation, Step
from ..data import identity
from ..machine import firewall, network
from ..protocol import etcd, versions, wal
from ..service import certificates, machine, member, systemd, unit
from ..shared import files, paths
from ..shared.errors import NodeError, OverdueError
from ..shared.say import more_time, phase, refuse_abandoned, say, until
from ..shared.spec import Bundle, Spec
from ..upgrade import downgrade, preflight, rollback
from . import prepare

_MOST_STEPS = 8
# When the network has been cut for a minute, TCP and etcd need half of one to find together again after it is whole.
_READY_SECONDS = 60.0
_RESTARTED_SECONDS = 60.0
_RETRY_SECONDS = 60.0
_GATE_SECONDS = 60.0
_NOBODY_THERE_SECONDS = 10.0
# Healthy voters follow a new leader within milliseconds; one that cannot be asked costs five seconds per look.
_FOLLOW_SECONDS = 20.0
_PROMOTE_SECONDS = 150.0
_SLOWEST = 10 << 20
"""Bytes per second at which a learner gets the database at least."""
_DRAIN_SECONDS = 0.5
_ANNOUNCED_SECONDS = 0.5
"""A learner that has everything has announced itself by then, if it ever hears of that: it is one more entry."""
_METRICS_SECONDS = 5.0
_WAITS_FOR_DATA = "waits until it has everything that the leader has"
_AGAIN_SECONDS = 15.0
_LAST_SECONDS = 5.0
_STOP_SECONDS = 2.0
_SNAPSHOT_SECONDS = 20.0
_READS_NO_V2 = (3, 7)
"""From this minor on, etcd cannot read the entries that etcd 3.5 wrote about its members."""
_BEGINNINGS = (Step.START, Step.ADOPT, Step.JOIN, Step.REJOIN, Step.PROMOTE)
"""How a member begins on a machine that has taken another one's place."""


@dataclass(frozen=True)
class Look:
    """One look at this member and its cluster."""

    situation: Situation
    service: systemd.Service
    ready: bool
    """This member itself is ready."""
    served: str
    """Fingerprint of the certificate that it presents; empty when it does not answer."""
    witnesses: tuple[str, ...]
    """Addresses of members that read through the quorum."""


def converge(spec: Spec, bundle: Bundle) -> None:
    """Does all of it.

    Raises:
        NodeError: a step is not safe now (nothing of it was done), or the member does not come back.
    """
    phase("look at the machine")
    given = certificates.authority(bundle)
    known = _identity(spec, given)
    member.forbid()
    preflight.refuse(spec, spec.others)
    rotation.refuse_too_early(spec, bundle)
    # Prepare has done it; not since, if a start with it has failed.
    prepare.install_release(spec)

    claim = Claim(spec, bundle.operator)
    claim.before_writing(bundle)
    renewed = certificates.install(bundle)
    if renewed:
        say(f"wrote {', '.join(renewed)}")
    ours = identity.of_member(known, given, bundle.operator)
    if not known.bare:
        # Whose it is changes when this run has succeeded.
        known = replace(ours, operator=known.operator)
        identity.save(known)
    wanted = certificates.server_fingerprint(bundle)
    begun = fresh = learns = forgets = False
    for _ in range(_MOST_STEPS):
        refuse_abandoned()
        look = _look(spec, known, learns=learns, forgets=forgets)
        if look.ready:
            downgrade.cancel_unwanted(spec, claim)
            # Who has just joined is not let in by those who leave, where machines filter; others come after it.
            if not (fresh and spec.member != list(spec.members)[-1]) and _part(spec, look, claim):
                continue  # they are still in what was seen before
        if not look.situation.has_data:
            network.refuse_closed(spec)
        step = decide.next_step(look.situation)
        if step is Step.DONE and look.ready:
            break
        if step is not Step.DONE:
            claim.hold(look.witnesses)
        try:
            after = _take(step, spec, known, ours, look)
        except member.OldDataError:
            forgets = _gives_up_data(known, bundle, forgets=forgets)
            continue
        if after is None:
            member.install_unit(spec)
            return
        known, forgets = after, False
        begun = begun or step in _BEGINNINGS
        learns = step in (Step.JOIN, Step.REJOIN)
        fresh = fresh or learns
    else:
        raise NodeError(
            f"not as wanted after {_MOST_STEPS} steps, the last being: {step.value}",
            "Run again, and look at `journalctl -u etcd` when it happens twice.",
        )

    # A new certificate shows with the next connection.
    known = replace(known, operator=ours.operator, machine=bundle.identity)
    _prove(spec, known, "" if look.served == wanted else wanted)
    if begun:
        # The next machine may go.
        disruption.give_back(spec, [spec.address], spec.member)
    say("as wanted" if not renewed else "as wanted, with the new certificates")


def _gives_up_data(known: identity.Identity, bundle: Bundle, *, forgets: bool) -> bool:
    """Whether data that have proved to be old are given up: the configuration names another machine than before.

    Called while their error is handled, which it lets pass where they are not.

    Args:
        known: what this machine knows of itself.
        bundle: what the configuration names.
        forgets: they were to be given up before, and nobody could have the member join.
    """
    # An older program has not noted which machine it was.
    if forgets or bundle.identity == known.machine or known.machine is None:
        raise  # noqa: PLE0704  the caller handles it
    say("its data are older than what it has confirmed, and its machine is said to be another one")
    return True


def _prove(spec: Spec, known: identity.Identity, certificate: str) -> None:
    """Proves the result, and records it.

    Args:
        spec: the wanted state.
        known: what this machine knows of itself.
        certificate: fingerprint of the one that has yet to be seen; empty: none.
    """
    phase("prove the result")
    member.install_unit(spec)
    if certificate:
        member.wait_ready(spec, _READY_SECONDS, certificate=certificate)
    member.settle(spec)
    firewall.settle(spec)
    rollback.forget()
    # Data that have been moved to another disk belong there from now on.
    identity.record(replace(known, data_mount=machine.mount_of(Path(spec.data_directory))))


def _identity(spec: Spec, given: list[str]) -> identity.Identity:
    """What this machine knows of itself, if that is the member that is wanted."""
    known = identity.load()
    identity.refuse_another(known, spec)
    identity.refuse_other_authority(known, given)
    if known is None:
        raise NodeError("this machine was not prepared", "Run `pulumi up`: prepare comes first.")
    machine.check_mount(spec, known.data_mount, begun=not known.bare)
    machine.check_settings()
    unit_file = systemd.foreign_unit()
    if unit_file is not None:
        raise NodeError(
            f"{unit_file} was not written by etcd-node", "Remove it or the package it belongs to, then run again."
        )
    return known


def _look(spec: Spec, known: identity.Identity, *, learns: bool = False, forgets: bool = False) -> Look:
    """One look.

    Args:
        spec: the wanted state.
        known: what this machine knows of itself.
        learns: it has just joined. It is not asked then: it has nothing to say for the cluster yet, and it may take
            connections for seconds before it answers the first.
        forgets: its data are older than what it has confirmed, and are to be given up.
    """
    service = systemd.show()
    log = wal.owner(spec.data_directory)
    has_data = wal.exists(spec.data_directory)
    quorum: etcd.Membership | None = None
    own_ready, served, silence = False, "", ""
    witnesses: list[str] = []
    if service.runs and has_data and not learns:
        try:
            answer = etcd.ready(spec, spec.address)
            served = answer.certificate
            if answer.ok:
                # `ready` has just read through the quorum, so this member's own list is as new as anybody's.
                quorum = etcd.peer_view(spec, spec.address)
                own_ready, witnesses = True, [spec.address]
        except (etcd.SilentError, etcd.AlienError):
            pass
    if not own_ready:
        others, silence = etcd.with_quorum(spec, spec.others)
        quorum = others[0][1] if others else None
        witnesses = [address for address, _ in others]
    situation = Situation(
        member=spec.member,
        peer_url=spec.peer_url(spec.address),
        has_data=has_data,
        member_id=log.member_id if log else None,
        cluster_id=log.cluster_id if log else None,
        identified=not known.bare,
        runs=service.runs,
        differs=_differs(spec, service),
        quorum=quorum,
        silence=silence,
        forgets=forgets,
    )
    return Look(situation, service, own_ready, served, tuple(witnesses))


def _wait_ready(spec: Spec, look: Look) -> bool:
    """Waits until this member is ready.

    Returns:
        False when that is for later: nobody has a quorum, because others still have certificates that have expired.
        They get theirs one after another, after this member. If each waited for a quorum first, nobody would have one.

    Raises:
        NodeError: it is not ready in time.
    """
    phase("wait until it is ready")
    if _others_have_expired(spec, look):
        return False
    try:
        member.wait_ready(spec, _READY_SECONDS, learner=look.situation.learns)
    except member.StartError:
        raise
    except NodeError:
        # Those that have just been started, too, take a moment until they can be asked.
        if _others_have_expired(spec, look):
            return False
        raise
    return True


def _others_have_expired(spec: Spec, look: Look) -> bool:
    if look.situation.quorum is not None:
        return False
    # Etcd answers its peers before there is a quorum, and its clients only then.
    answers = etcd.each(lambda address: etcd.peer_view(spec, address), spec.others)
    late = [name for name, answer in answers.items() if etcd.EXPIRED in str(answer)]
    if late:
        say(f"the certificates of {', '.join(late)} have expired: it is ready when they have theirs")
    return bool(late)


def _differs(spec: Spec, service: systemd.Service) -> tuple[str, ...]:
    """What the process runs with otherwise than wanted.

    Only its program, its flags and the CAs that it has read count. A change of anything else in the unit (priorities,
    hardening, comments) is written and takes effect when the process next starts: it is never worth a restart of its
    own.
    """
    live = systemd.command_of(service.pid) if service.runs else []
    if not live:
        return ()
    wanted, now = unit.command(spec), unit.permanent(live)
    program = [f"{now[0]} -> {wanted[0]}"] if now[0] != wanted[0] else []
    flags = sorted({word.split("=", 1)[0] for word in set(wanted[1:]) ^ set(now[1:])})
    authorities = ["the CAs that it trusts"] if rotation.runs_with_other_cas(service.pid) else []
    return (*program, *flags, *authorities)


def _take(
    step: Step, spec: Spec, known: identity.Identity, ours: identity.Identity, look: Look
) -> identity.Identity | None:
    """Takes one step.

    Returns:
        What this machine knows of itself then; None when its being ready is for later (see `_wait_ready`).
    """
    if step is Step.DONE:
        # On the first creation the others may still be coming up.
        return known if _wait_ready(spec, look) else None
    phase(step.value)
    if step is Step.ADOPT:
        say("the data are this member's: its cluster knows their ID")
        known = ours
        identity.save(known)
    elif step is Step.START:
        say("starts")
        preflight.make_ready_to_start(spec, look.witnesses)
        if _has_entries_too_old(spec):
            _shed_old_entries(spec, look)
        else:
            member.make_data_directory(spec)
            with rollback.undone(spec):
                member.install_unit(spec)
                systemd.start()
                _wait_ready(spec, look)
    elif step is Step.RESTART:
        _restart(spec, look)
    elif step is Step.PROMOTE:
        _promote(spec, look)
    elif step in (Step.JOIN, Step.REJOIN):
        _join(spec, ours, look)
        known = identity.load() or known
    return known


def _restart(spec: Spec, look: Look) -> None:
    """Restarts this member, if the others can do without it; leadership goes first."""
    if look.situation.quorum is None:
        raise NodeError(
            f"a restart is needed ({', '.join(look.situation.differs)}), but the cluster has no quorum "
            f"({look.situation.silence or 'it does not answer'}); nothing was restarted",
            f"{decide.remedy(look.situation.silence, 'Bring the other members back first.')} Then run again.",
        )
    quorum = look.situation.quorum
    everyone = roster.everyone(spec, look.witnesses, quorum)
    learns = look.situation.learns  # whoever does not vote carries no quorum
    voters, statuses = _voters(everyone, quorum) if learns else _wait_to_stop(everyone, quorum)
    if preflight.make_ready(everyone, statuses) and not learns:
        voters, statuses = _wait_to_stop(everyone, quorum)
    own = statuses.get(spec.member)
    others = {voter.name for voter in voters if voter.name != spec.member}
    if own is not None and own.leader == own.member_id and others:
        refuse = partial(decide.refuse_stop, spec.member)
        voters, statuses = hand_over(
            everyone, spec.member, quorum, (voters, statuses), refuse, untouched="nothing was restarted"
        )
    # What a learner has yet to get may take long; it is waited for when it becomes a voter.
    goal = 0 if learns else max((status.raft_index for status in statuses.values()), default=0)
    if _has_entries_too_old(spec):
        _shed_old_entries(spec, look)
        _wait_in_step(everyone, goal, others)
        return  # and the next look finds that the restart is still to come
    say(f"restarts for {', '.join(look.situation.differs)}")
    phase("restart")
    # The look may be minutes old, and systemd may have started etcd anew since.
    before = systemd.show().pid
    if look.ready:
        rollback.remember(spec, before)
    with rollback.undone(spec):
        # The unit must be new before the stop, so that whatever starts it next starts the new one.
        member.install_unit(spec)
        systemd.restart()
        _wait_gone(before)
        member.wait_ready(spec, _RESTARTED_SECONDS, learner=learns)
    _wait_in_step(everyone, goal, others)
    say("is back")
    if still := _differs(spec, systemd.show()):
        raise NodeError(
            f"it was restarted and still runs with other than what is wanted ({', '.join(still)})",
            "Something else has a say in how it is started: see `systemctl cat etcd` for files below "
            f"{paths.UNIT}.d. Take it away, then run again; flags belong into the configuration.",
        )


def _has_entries_too_old(spec: Spec) -> bool:
    """Whether the wanted etcd would end at its start, because it meets entries in the log that it cannot read."""
    return (
        versions.minor(spec.release.version) >= _READS_NO_V2
        and versions.minor(member.version() or spec.release.version) < _READS_NO_V2
        and wal.old_entries(spec.data_directory) > 0
    )


def _shed_old_entries(spec: Spec, look: Look) -> None:
    """Starts the etcd that is installed once more, so that it writes a snapshot at once: no etcd reads what is before.

    Raises:
        NodeError: it does not come back, or writes none.
    """
    say(f"restarts for a snapshot first: its log has entries of etcd 3.5, which {spec.release.version} cannot read")
    phase("write a snapshot")
    before = systemd.show().pid
    if look.service.runs:
        systemd.begin_stop()
        _wait_gone(before)
    systemd.stop()  # when it ends, the unit takes every permission away
    try:
        member.begin_with("--snapshot-count=1")
        member.wait_ready(spec, _RESTARTED_SECONDS, learner=look.situation.learns)
        for _ in until(_SNAPSHOT_SECONDS, every=0.1):
            if wal.old_entries(spec.data_directory) == 0:
                return
    finally:
        member.forbid()
    raise NodeError(
        f"etcd has written no snapshot within {_SNAPSHOT_SECONDS:.0f} s, and {spec.release.version} could not read its "
        "log; it runs with the version that it had",
        "See `journalctl -u etcd` on the machine, then run again.",
    )


def _wait_to_stop(spec: Spec, quorum: etcd.Membership) -> tuple[list[decide.Voter], dict[str, etcd.Status]]:
    """Waits until this member may stop; raises NodeError when it may not."""
    return gate(spec, quorum, partial(decide.refuse_stop, spec.member))


def gate(
    spec: Spec,
    quorum: etcd.Membership,
    refuse: Callable[[Sequence[decide.Voter]], None],
    seconds: float = _GATE_SECONDS,
) -> tuple[list[decide.Voter], dict[str, etcd.Status]]:
    """Waits a little until the voters allow a step: one of them may just be coming back from its own restart.

    Args:
        spec: this member.
        quorum: the members.
        refuse: raises NodeError when these voters do not allow the step.
        seconds: how long to wait.

    Raises:
        NodeError: they do not; says which member is in the way.
    """
    refusal: NodeError | None = None
    for left in until(seconds, every=0.2):
        voters, statuses = _voters(spec, quorum)
        refuse_abandoned()
        try:
            refuse(voters)
        except NodeError as error:
            refusal = error
        else:
            return voters, statuses
        if left == seconds:
            say("waits for the other members to be healthy")
        if any("alarm " in voter.trouble for voter in voters):
            break  # no alarm goes away by itself
        absent = all(voter.trouble in ("", etcd.REFUSED, etcd.RESET, etcd.UNREACHED) for voter in voters)
        if absent and left < seconds - _NOBODY_THERE_SECONDS:
            break
    assert refusal is not None  # noqa: S101  until yields at least once
    raise refusal


def _voters(spec: Spec, quorum: etcd.Membership) -> tuple[list[decide.Voter], dict[str, etcd.Status]]:
    """Every voter of the cluster with what speaks against it, and the statuses of all members that gave one."""
    names = {entry.id: entry.name or f"the unstarted member {entry.id:x}" for entry in quorum.voters}
    numbers = {name: number for number, name in names.items()}
    addresses = {
        names[entry.id]: spec.members[names[entry.id]] for entry in quorum.voters if names[entry.id] in spec.members
    }
    answers = etcd.each(lambda address: etcd.ready(spec, address), addresses)
    statuses = etcd.statuses(
        spec, {name: address for name, address in addresses.items() if isinstance(answers[name], etcd.Ready)}
    )
    leader = next((status for status in statuses.values() if status.leader == status.member_id), None)
    voters = []
    for name in names.values():
        answer = answers.get(name)
        if answer is None:
            trouble = f"{decide.STRANGER} (ID {numbers[name]:x})"
        elif not isinstance(answer, etcd.Ready):
            trouble = str(answer)
        else:
            trouble = (answer.said or "not ready") if not answer.ok else decide.trouble_of(statuses.get(name), leader)
        voters.append(decide.Voter(name, trouble))
    order = list(spec.members)
    voters.sort(key=lambda voter: order.index(voter.name) if voter.name in order else len(order))
    return voters, statuses


def _move_leader(
    spec: Spec, leader: str, voters: list[decide.Voter], statuses: dict[str, etcd.Status], untouched: str
) -> str:
    """Has the leader hand its leadership to another voter; returns to whom."""
    address = spec.members[leader]
    heir = decide.heir(leader, voters, statuses)
    if heir is None:
        raise NodeError(
            f"{leader} leads, and no other voter can take over; {untouched}",
            "Run again when the other members are healthy.",
        )
    phase(f"hand leadership to {heir}")
    said = ""
    for _ in range(3):
        code, _, said = etcd.etcdctl(spec, [address], ["move-leader", f"{statuses[heir].member_id:x}"], check=False)
        own = etcd.statuses(spec, {leader: address}).get(leader)
        if own is not None and own.leader not in (0, own.member_id):
            say(f"handed leadership to {heir}")
            return heir
        if code == 0:
            time.sleep(0.2)
    raise NodeError(
        f"{leader} could not hand its leadership to {heir} ({said}); {untouched}",
        "Run again; see `etcd-node status` on both when it fails again.",
    )


def hand_over(
    spec: Spec,
    leader: str,
    quorum: etcd.Membership,
    found: tuple[list[decide.Voter], dict[str, etcd.Status]],
    refuse: Callable[[Sequence[decide.Voter]], None],
    *,
    untouched: str,
) -> tuple[list[decide.Voter], dict[str, etcd.Status]]:
    """Has the leader hand its leadership to another voter, and looks whether the others follow that one.

    Each of them was healthy with the leader in their midst. Whether they reach each other shows only now; where they do
    not, the leader gets its leadership back.

    Args:
        spec: this member.
        leader: name of the member that leads, this one or another.
        quorum: the members.
        found: what `gate` has returned.
        refuse: raises NodeError when the voters do not allow the step for which leadership has to go.
        untouched: what has not happened when this fails, for the message.

    Returns:
        What `gate` returns now.

    Raises:
        NodeError: nobody can take over, the leader does not change, or the others do not follow the new one.
    """
    voters, statuses = found
    heir = _move_leader(spec, leader, voters, statuses, untouched)
    try:
        return gate(spec, quorum, refuse, _FOLLOW_SECONDS)
    except NodeError as error:
        code = 1
        with contextlib.suppress(NodeError):
            words = ["move-leader", f"{statuses[leader].member_id:x}"]
            code, _, _ = etcd.etcdctl(spec, [spec.members[heir]], words, check=False)
        raise NodeError(
            f"with {heir} as the leader{f', and {leader} leads again' if code == 0 else ''}: {error.cause}",
            f"Can all members reach each other on port {spec.peer_port}? {error.remedy}",
        ) from None


def _wait_gone(pid: int) -> None:
    """Waits for the old process: until it is gone, it is the one that answers.

    Etcd that was told to stop takes no new connections, and waits 7 s for its open streams. Requests end in
    milliseconds; watches never do, and an API server always has some. So it gets half a second, and is killed: whatever
    it has acknowledged is in its log.
    """
    for left in until(40, every=0.02):
        if not systemd.alive(pid):
            return
        if left < 40 - _DRAIN_SECONDS:
            systemd.kill(pid)
    raise NodeError(f"the old etcd process {pid} does not end", "See `systemctl status etcd` on the machine.")


def _wait_in_step(spec: Spec, goal: int, others: set[str]) -> None:
    """Waits until this member has applied what the cluster had when it stopped, has no alarm, and finds others ready.

    Args:
        spec: this member.
        goal: the log index that it has to reach.
        others: names of the members that are asked for their readiness, at their client ports.

    Raises:
        NodeError: it does not come that far in time.
    """
    phase("wait until it is in step with the others")
    trouble = "no status"
    for _ in until(_RETRY_SECONDS, every=0.2):
        own = etcd.statuses(spec, {spec.member: spec.address}).get(spec.member)
        trouble = decide.trouble_of(own, None)
        if own is not None and not trouble and own.applied_index < goal:
            trouble = f"it has applied {own.applied_index} of {goal} entries"
        if not trouble and others:
            sick = {name: answer for name, answer in _others_ready(spec, others).items() if answer}
            trouble = "; ".join(f"{name}: {answer}" for name, answer in sick.items())
        if not trouble:
            return
    raise NodeError(
        f"it was restarted and is not in step again: {trouble}",
        "See `etcd-node status` and `journalctl -u etcd` here and on the other members.",
    )


def _others_ready(spec: Spec, names: set[str]) -> dict[str, str]:
    # Voters that are not on the list have no address here: some leave, some are somebody else's.
    addresses = {name: address for name, address in spec.members.items() if name in names}
    answers = etcd.each(lambda address: etcd.ready(spec, address), addresses)
    return {
        name: ("" if answer.ok else answer.said or "not ready") if isinstance(answer, etcd.Ready) else str(answer)
        for name, answer in answers.items()
    }


def _join(spec: Spec, ours: identity.Identity, look: Look) -> None:
    """Makes a member with an empty data directory a learner of the cluster that exists.

    Its old entry goes first, whatever is known of it: under the old ID it would be a voter that has forgotten.
    """
    quorum = look.situation.quorum
    assert quorum is not None  # noqa: S101  next_step has seen to it
    peer_url = spec.peer_url(spec.address)
    witnesses = list(look.witnesses)
    # The member list once more, from the quorum and not from one member's memory, before anything is changed by it.
    quorum = etcd.member_list(spec, witnesses)
    noted = roster.noted(spec, witnesses)
    stale = [*quorum.of_slot(spec.member, peer_url)]
    # One that never started has no name, and may have been taken in at an address that the member has no longer.
    before = spec.peer_url(noted.get(spec.member, spec.address))
    stale += [entry for entry in quorum.members if before in entry.peer_urls and not entry.name and entry not in stale]
    foreign = [entry for entry in stale if entry.name not in ("", spec.member)]
    if foreign:
        raise NodeError(
            f"the address {spec.address} of {spec.member} belongs to the member {foreign[0].name} of the cluster; "
            "nothing was changed",
            f"Keep the name {foreign[0].name} for this address, or give {spec.member} another.",
        )
    voters, statuses = _voters(spec, quorum)
    refuse = partial(decide.refuse_removal, spec.member, removed=sum(1 for entry in stale if not entry.learner))
    refuse(voters)
    running = {name: status.version for name, status in statuses.items() if name != spec.member}
    versions.refuse_version(spec.release.version, running)
    versions.refuse_joining_version(spec.member, spec.release.version, running)
    if not stale and spec.member not in noted:
        versions.refuse_mixed(f"{spec.member} would join the cluster", running)
    _have_a_leader_it_can_read(spec, quorum, (voters, statuses), refuse)

    systemd.stop()
    if wal.exists(spec.data_directory) and wal.owner(spec.data_directory) is not None:
        owner = wal.owner(spec.data_directory)
        lives = owner is not None and quorum.by_id(owner.member_id) is not None
        if lives and not look.situation.forgets:
            raise NodeError(
                f"{spec.member}: the data directory holds a living member now; nothing was changed", "Run again."
            )
    moved = move_aside(spec, "removed")
    if moved is not None:
        say(f"data moved aside to {moved}")
    roster.note(spec, witnesses)
    for entry in stale:
        _retry(spec, witnesses, ["member", "remove", f"{entry.id:x}"], "remove its stale entry")
        say(f"removed its stale entry {entry.id:x}")
    identity.save(replace(ours, cluster_id=f"{quorum.cluster_id:x}", member_id=""))
    _make_room(spec, witnesses, quorum)
    healthy = [voter.name for voter in voters if not voter.trouble]
    _add_learner(spec, witnesses, peer_url, {name: spec.others[name] for name in healthy if name in spec.others})
    now = etcd.member_list(spec, witnesses)
    initial = {
        entry.name or (spec.member if peer_url in entry.peer_urls else f"unstarted-{entry.id:x}"): entry.peer_urls[0]
        for entry in now.members
    }
    phase("start as a learner")
    member.begin(spec, unit.bootstrap(initial), seconds=30)
    say("joined as a learner")


def _have_a_leader_it_can_read(
    spec: Spec,
    quorum: etcd.Membership,
    found: tuple[list[decide.Voter], dict[str, etcd.Status]],
    refuse: Callable[[Sequence[decide.Voter]], None],
) -> None:
    """Moves leadership to a member from which the wanted etcd can learn, if it is not there.

    In the middle of an upgrade to 3.7 a leader of 3.6 may still have all that it has written since it ran 3.5, and
    sends it to who joins. Whoever runs 3.7 has none of it any more.

    Args:
        spec: this member, which is about to join.
        quorum: the members.
        found: what `_voters` has returned.
        refuse: raises NodeError when the voters do not allow this member to join.

    Raises:
        NodeError: nobody can lead from whom it could learn; nothing was changed.
    """
    voters, statuses = found
    wanted = spec.release.version
    old = {name for name, status in statuses.items() if versions.minor(status.version) < _READS_NO_V2}
    if versions.minor(wanted) < _READS_NO_V2 or not old:
        return
    leader = next((name for name, status in statuses.items() if status.leader == status.member_id), "")
    if leader and leader not in old:
        return
    able = [voter for voter in voters if voter.name not in old]
    if not leader or decide.heir(leader, able, statuses) is None:
        now = f"{leader}, which runs etcd {statuses[leader].version}," if leader else "a member that cannot be asked"
        raise NodeError(
            f"{spec.member} has to join with etcd {wanted}, which cannot read what earlier minors may send to who "
            f"joins; {now} leads, and no healthy voter that runs {versions.series(wanted)} could; nothing was changed",
            f"Bring the members that run {versions.series(wanted)} back first, then run again.",
        )
    hand_over(spec, leader, quorum, (able, statuses), refuse, untouched="nothing was changed")


def _make_room(spec: Spec, witnesses: list[str], cluster: etcd.Membership) -> None:
    """Takes out a learner that a run which was cut off has left: etcd takes in no other one while it is there.

    It carries nothing. If it is still wanted, its own turn comes later in this update, and it joins anew.
    """
    for name, entry in roster.learners(spec, witnesses, cluster).items():
        _retry(spec, witnesses, ["member", "remove", f"{entry.id:x}"], f"take the learner {name} out")
        if name not in spec.members:
            roster.forget(spec, witnesses, name)
        say(f"took the learner {name} out, which a run that was cut off has left")


def _add_learner(spec: Spec, witnesses: list[str], peer_url: str, expected: Mapping[str, str]) -> None:
    """Adds this member as a learner, and takes it out again if the members cannot reach it.

    Args:
        spec: this member.
        witnesses: members that reach the quorum.
        peer_url: its peer URL.
        expected: healthy members, name -> address; each dials a new member at once.

    Raises:
        NodeError: etcd does not add it, or one of them cannot reach it.
    """
    words = ["member", "add", spec.member, "--learner", f"--peer-urls={peer_url}"]
    doorbell = network.Doorbell(spec)
    try:
        _retry(spec, witnesses, words, "add it as a learner")
        firewall.admit(spec, etcd.member_list(spec, witnesses))
        unheard = doorbell.unheard(expected)
    except NodeError as error:
        if _FULL not in error.cause:
            raise
        decide.refuse_another_learner(spec.member, etcd.member_list(spec, witnesses))
        raise
    finally:
        doorbell.close()
    if unheard:
        for entry in etcd.member_list(spec, witnesses).of_slot(spec.member, peer_url):
            _retry(spec, witnesses, ["member", "remove", f"{entry.id:x}"], "remove it again")
        raise NodeError(
            f"{spec.member} was not added to the cluster: {'; '.join(unheard)}",
            f"On every member, ports {spec.client_port} and {spec.peer_port} must be open to all members. Then run "
            "again.",
        )


def _part(spec: Spec, look: Look, claim: Claim) -> bool:
    """Takes those out of the cluster that an edit took off the list; their machines are retired afterwards.

    Only who was on the list that was installed here before, or is one of ours as the cluster remembers it: what others
    have added to the cluster is not ours to remove. Whoever restarts first forgets the old list; so this comes before
    every other step. While others are still to join, only who is of no use leaves; the rest is for members whose turn
    is later.

    Returns:
        Whether anybody was removed.

    Raises:
        NodeError: it is not safe now; nobody was removed.
    """
    before = files.read_json(paths.INSTALLED) or {}
    recorded = {name: address for name, address in before.get("members", {}).items() if name not in spec.members}
    gone = dict(recorded)
    witnesses = list(look.witnesses)
    if look.situation.quorum is not None:
        gone |= roster.unknown(spec, witnesses, look.situation.quorum, gone)
    urls = {name: spec.peer_url(address) for name, address in gone.items()}
    removed = False
    for _ in gone:
        refuse_abandoned()
        cluster = etcd.member_list(spec, witnesses)
        leaving = decide.leaving(
            urls,
            {name: spec.peer_url(address) for name, address in spec.members.items()},
            cluster,
        )
        if not leaving:
            break
        claim.hold(witnesses)
        phase(f"let {', '.join(gone)} leave the cluster")
        everyone = replace(spec, members={**spec.members, **gone})
        voters, statuses = _voters(everyone, cluster)
        versions.refuse_mixed(
            f"{', '.join(gone)} would leave the cluster", {name: status.version for name, status in statuses.items()}
        )
        led = {status.leader for status in statuses.values()}
        leader = next((entry.name for entry in cluster.voters if entry.id in led), "")
        entry = decide.next_to_leave(leaving, voters, leader)
        slot = next(name for name, url in urls.items() if entry in cluster.of_slot(name, url))
        lost = slot in recorded and any(voter.name == entry.name and voter.trouble for voter in voters)
        if not lost and decide.stays_for_now(entry, spec.members, cluster):
            break
        decide.refuse_leaving(entry, list(spec.members), voters)
        if entry.name == leader and leader not in statuses and leader not in recorded:
            # Who has just joined may not reach it, and could not have it hand leadership over: those who stay can.
            break
        if entry.name == leader and leader in statuses:
            heir = decide.heir(leader, [voter for voter in voters if voter.name in spec.members], statuses)
            if heir is None:
                raise NodeError(f"{leader} leads, and nobody who stays can take over; it was not removed", "Run again.")
            etcd.etcdctl(spec, [gone[leader]], ["move-leader", f"{statuses[heir].member_id:x}"])
            say(f"{leader} handed leadership to {heir}")
            # As in `hand_over`: whether those who stay reach each other shows only now.
            gate(everyone, cluster, partial(decide.refuse_leaving, entry, list(spec.members)), _FOLLOW_SECONDS)
        _retry(spec, witnesses, ["member", "remove", f"{entry.id:x}"], f"remove {slot}")
        roster.forget(spec, witnesses, slot)
        say(f"{slot} has left the cluster")
        removed = True
    return removed


def _promote(spec: Spec, look: Look) -> None:
    witnesses = [address for address in look.witnesses if address != spec.address] or list(spec.others.values())
    member_id = look.situation.member_id
    # Those who have yet to join are not asked: each would cost etcdctl's patience with nobody.
    there = {name: address for name, address in spec.others.items() if address in look.witnesses}
    size = max((status.db_size for status in etcd.statuses(spec, there).values()), default=0)
    more_time(size / _SLOWEST)
    seconds = _PROMOTE_SECONDS + size / _SLOWEST
    # What it gets from the leader may be what ends it, and systemd would start it for ever.
    alive = partial(member.refuse_looping, look.service.restarts)
    begin = time.monotonic()
    _have_it_announced(spec, member_id or 0, seconds, alive)
    # Systemd counts from 0 again where it was started anew.
    alive = partial(member.refuse_looping, min(look.service.restarts, systemd.show().restarts))
    words = ["member", "promote", f"{member_id:x}"]
    left = max(seconds - (time.monotonic() - begin), _LAST_SECONDS)
    _retry(spec, witnesses, words, "promote it when it is in step", left, meanwhile=alive)
    say("is a voter")


def _have_it_announced(spec: Spec, member_id: int, seconds: float, alive: Callable[[], None]) -> None:
    """Waits until this learner has announced itself, which etcd does before it serves its clients.

    An etcd that is sent a snapshot may find its own announcement in it: then it never hears that it was made, and makes
    it again after its request timeout, 7 s with etcd's own timers. One that is started with the data that it has by now
    makes it at once. A learner carries nothing, so nobody misses it meanwhile; as a voter it would serve nobody.

    Args:
        spec: this member.
        member_id: its ID.
        seconds: how long to wait; what is left is for the promotion, which waits for the data as well.
        alive: raises NodeError when the process ends again and again.
    """
    phase("wait until it serves its clients")
    mute = behind = 0.0
    told = False
    since: float | None = None
    for left in until(seconds, every=0.1):
        refuse_abandoned()
        alive()
        with contextlib.suppress(etcd.SilentError, etcd.AlienError):
            etcd.ready(spec, spec.address, timeout=_ANNOUNCED_SECONDS, learner=True)
            return
        has_everything = etcd.has_everything(spec)
        if has_everything is None:
            mute = mute or left
            if mute - left > _METRICS_SECONDS:
                return  # the promotion finds out
            continue
        mute = 0.0
        if not has_everything:
            behind = behind or left
            if behind - left > 1 and not told:
                say(_WAITS_FOR_DATA)
                told = True
        since = (since or left) if has_everything else None
        if since is not None and since - left >= _ANNOUNCED_SECONDS:
            break
    else:
        return
    _start_anew(spec, member_id)


def _start_anew(spec: Spec, member_id: int) -> None:
    """Restarts a learner at once, and waits for it; a member that votes by now is left alone."""
    with contextlib.suppress(etcd.SilentError, etcd.AlienError):
        # Its peer port answers before its clients are served. A voter is not stopped here.
        own = etcd.peer_view(spec, spec.address).by_id(member_id)
        if own is not None and not own.learner:
            return
    say("starts anew: it has all data, and would announce itself only after etcd's request timeout")
    before = systemd.show().pid
    systemd.restart()
    # Not before systemd stops it: what ends by itself is started again only after 5 s. Then at once: it serves nobody.
    for _ in until(_STOP_SECONDS, every=0.02):
        now = systemd.show()
        if now.pid != before:
            break
        if now.active == "deactivating":
            systemd.kill(before)
            break
    try:
        member.wait_ready(spec, _AGAIN_SECONDS, learner=True)
    except (member.StartError, OverdueError):
        raise
    except NodeError:
        return  # the promotion finds out


# What etcd says while it is not yet time: another learner is being taken in, a member has just been started, or the
# learner has not caught up.
_BEHIND = "in sync with leader"
_FULL = "too many learner"
_NOT_YET = (
    "unhealthy cluster",
    _BEHIND,
    _FULL,
    "not connected to a majority",
    "leader changed",
    "timed out",
    "no leader",
)


# What etcd says when a try that was not answered in time has done it after all. What it says of a learner that is
# behind begins in the same words.
_DONE = {
    "add": "peer urls already exists",
    "promote": "can only promote a learner",
    "remove": "member not found",
}


def _retry(
    spec: Spec,
    addresses: list[str],
    words: list[str],
    doing: str,
    seconds: float = _RETRY_SECONDS,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Runs a change of membership, again and again while etcd says that it is not yet time.

    Args:
        spec: this member.
        addresses: who is asked.
        words: what etcdctl is told.
        doing: what it is for, in words.
        seconds: how long.
        meanwhile: called before each try; what it raises ends them.
    """
    phase(doing)
    said, told = "", False
    for _ in until(seconds, every=0.3):
        refuse_abandoned()
        meanwhile()
        code, _, said = etcd.etcdctl(spec, addresses, words, check=False)
        if code == 0:
            return
        if not any(text in said.lower() for text in _NOT_YET):
            if words[1] in _DONE and _DONE[words[1]] in said.lower():
                return
            break
        if _BEHIND in said and not told:
            say(_WAITS_FOR_DATA)
            told = True
    raise NodeError(
        f"etcd did not {doing}: {said}",
        "Look at the other members (`etcd-node status`), then run again: it goes on from here.",
    )


def move_aside(spec: Spec, why: str) -> Path | None:
    """Moves what is in the data directory aside, under a dated name, on the same file system; nothing is deleted.

    Returns:
        Where it is now, None when there was nothing.
    """
    return move_data_aside(Path(spec.data_directory), f"{spec.cluster}-{why}")


def move_data_aside(data: Path, label: str) -> Path | None:
    """See `move_aside`; `label` becomes part of the name."""
    if not data.is_dir() or not (data / "member").exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    # A link stays, and with it the disk that it leads to.
    real = Path(os.path.realpath(data))
    if machine.mount_of(real) == str(real):
        # The directory is a file system of its own: beside it would be another one.
        target = real / f"{label}-{stamp}"
        target.mkdir(mode=0o700)
        (real / "member").rename(target / "member")
    else:
        before = real.stat()
        target = real.with_name(f"{real.name}.{label}-{stamp}")
        real.rename(target)
        if data.is_symlink():
            files.directory(real, 0o700, before.st_uid, before.st_gid)
    return target
