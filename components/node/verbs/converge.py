"""converge: brings one member to its desired configuration by the smallest safe steps, and proves the result.

It looks, takes one step, and looks again, until nothing is left to do. Every step is decided from the live state
(process, log, member list), so the next run completes an interrupted one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ..backup import settings as backup
from ..cluster import disruption, one_restart, rotation, users
from ..cluster.claim import Claim
from ..data import directory, identity
from ..data.identity import Identity
from ..machine import measured, network, nftables
from ..service import certificates, conflicts, image, kubelet_host, maintenance, member, metrics_timer, release, systemd
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.say import phase, refuse_abandoned, say
from ..shared.spec import KUBELET, Bundle, Spec
from ..steps.begin import begin
from ..steps.join import join
from ..steps.look import Look, look
from ..steps.next_step import Step, next_step
from ..steps.promote import promote
from ..steps.remove import remove_gone
from ..steps.restart import restart
from ..steps.start import start, wait_ready
from ..upgrade import downgrade, preflight, rollback

_MOST_STEPS = 8
_CERTIFICATE_SECONDS = 60.0
_BEGINNINGS = (Step.START, Step.ADOPT, Step.JOIN, Step.REJOIN, Step.PROMOTE)
"""The steps by which a member begins on a machine that replaces another one."""


def converge(spec: Spec, bundle: Bundle) -> str:
    """Takes as many steps as it needs, and records the result.

    Returns:
        What was measured on this machine; see `measured.answer`.

    Raises:
        NodeError: a step is not safe now (it was not begun), or the member does not come back.
    """
    phase("look at the machine")
    given = certificates.authority(bundle)
    known = _identity(spec, given)
    member.forbid()
    preflight.refuse(spec, spec.others)
    # `prepare` has installed it, but a failed start may have marked it for a new check.
    release.ensure(spec)
    known, just_joined = begin(spec, bundle, known, identity.of_member(known, given, bundle.operator))
    ours = identity.of_member(known, given, bundle.operator)
    rotation.refuse_too_early(spec, bundle)

    claim = Claim(spec, bundle.operator)
    renewed = _install(bundle, claim)
    backup.install(spec, bundle.store)
    if not known.bare:
        # The operator is recorded when this run has succeeded.
        known = replace(ours, operator=known.operator)
        identity.save(known)
    certificate = certificates.server_fingerprint(bundle)
    begun = joined = forgets = users_free = False
    for _ in range(_MOST_STEPS):
        refuse_abandoned()
        seen = look(spec, known, just_joined=just_joined, forgets=forgets)
        if seen.ready:
            downgrade.cancel_unwanted(spec, claim)
            # With a firewall, leaving members do not allow a new member: a later member's step removes them.
            if not (joined and spec.member != list(spec.members)[-1]) and remove_gone(
                spec, seen.witnesses, seen.situation.quorum, claim
            ):
                continue  # they are still in the look
        if not seen.situation.has_data:
            measured.keep_links(network.refuse_closed(spec), asked=spec.auto_timers)
        step = next_step(seen.situation)
        if step is Step.DONE and seen.ready:
            break
        if step is not Step.DONE:
            # `health` creates them at the end; check for taken names before any change.
            users_free = users_free or users.refuse_taken(spec, seen.witnesses)
            claim.hold(seen.witnesses)
        try:
            after = _take(step, spec, known, ours, seen)
        except member.OldDataError:
            forgets = _gives_up_data(known, bundle, forgets=forgets)
            continue
        if after is None:
            member.install_unit(spec)
            _set_timers(spec)
            return measured.answer()
        known, forgets = after, False
        begun = begun or step in _BEGINNINGS
        just_joined = step in (Step.JOIN, Step.REJOIN)
        joined = joined or just_joined
    else:
        raise NodeError(
            f"the desired state was not reached after {_MOST_STEPS} steps; the last was: {step.value}",
            "Run again. If it happens twice, see `journalctl -u etcd`.",
        )

    # A new certificate shows with the next connection.
    known = replace(known, operator=ours.operator, machine=bundle.identity)
    _prove(spec, known, seen.service, "" if seen.served == certificate else certificate)
    if begun:
        # The machine of another member may be replaced now.
        disruption.give_back(spec, [spec.address], spec.member)
    say("up to date" if not renewed else "up to date, with the new certificates")
    return measured.answer()


def _measure_links(spec: Spec) -> None:
    """Measures the round trips to the other members when timers are first derived from them."""
    if not spec.auto_timers:
        measured.forget_asked()
    elif not measured.record().get("asked"):
        phase("measure the round trips to the other members")
        measured.keep_links(network.round_trips(spec), asked=True)


def _set_timers(spec: Spec) -> None:
    maintenance.settle(spec.maintenance)
    metrics_timer.settle(spec)


def _install(bundle: Bundle, claim: Claim) -> list[str]:
    """Writes certificates and keys; returns the names of the files that changed."""
    claim.before_writing(bundle)
    renewed = certificates.install(bundle)
    if renewed:
        say(f"wrote {', '.join(renewed)}")
    files.write(paths.CLIENTS, json.dumps(bundle.clients, indent=2) + "\n", 0o600)
    return renewed


def _gives_up_data(known: Identity, bundle: Bundle, *, forgets: bool) -> bool:
    """Whether to discard data that are older than what the member has confirmed: its machine has another `identity`.

    Called while an OldDataError is handled; raises it again if they must be kept.

    Args:
        forgets: they were to be discarded already, and the member could not join.
    """
    # An older program has not recorded the machine's identity.
    if forgets or bundle.identity == known.machine or known.machine is None:
        raise  # noqa: PLE0704  the caller handles it
    say("its data are older than what it has confirmed, and the configuration says that its machine was replaced")
    return True


def _prove(spec: Spec, known: Identity, now: systemd.Service, certificate: str) -> None:
    """Proves the result, and records it.

    Args:
        now: etcd's unit in the last look.
        certificate: fingerprint of the server certificate that it must present; empty if none.
    """
    phase("prove the result")
    member.install_unit(spec, now)
    if certificate:
        member.wait_ready(spec, _CERTIFICATE_SECONDS, certificate=certificate)
    member.settle(spec)
    nftables.settle(spec)
    _set_timers(spec)
    _measure_links(spec)
    rollback.forget()
    if spec.service_manager == KUBELET:
        image.remove_others(spec.image)
    elif kubelet_host.is_set_up():
        image.remove_others("")
        kubelet_host.remove()
    # Data that have been moved to another disk belong there from now on.
    identity.record(replace(known, data_mount=directory.mount_of(Path(spec.data_directory))))


def _identity(spec: Spec, given: list[str]) -> Identity:
    """This machine's record, which must name this member and one of these CAs."""
    known = identity.load()
    identity.refuse_another(known, spec)
    identity.refuse_other_authority(known, given)
    if known is None:
        raise NodeError("this machine was not prepared", "Run `pulumi up`: prepare comes first.")
    directory.check_mount(spec, known.data_mount, begun=not known.bare)
    conflicts.check_settings()
    conflicts.check_unit()
    return known


def _take(step: Step, spec: Spec, known: Identity, ours: Identity, seen: Look) -> Identity | None:
    """Takes one step.

    Args:
        ours: its record as the member's machine.

    Returns:
        The machine's record afterwards; None if the member can only become ready later (`start.wait_ready`).
    """
    if step is Step.DONE:
        # When a cluster is created, the others may still be starting.
        if wait_ready(spec, seen):
            return known
        identity.record(known)
        return None
    phase(step.value)
    if step is Step.ADOPT:
        say("the data are this member's: its cluster knows their ID")
        known = ours
        identity.save(known)
    elif step is Step.START:
        start(spec, seen)
    elif step is Step.RESTART:
        with one_restart.alone(spec, () if seen.situation.learns else seen.witnesses):
            restart(spec, seen)
    elif step is Step.PROMOTE:
        promote(spec, seen)
    else:
        join(spec, ours, seen)
        known = identity.load() or known
    return known
