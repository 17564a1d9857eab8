"""The observed state of this member and its cluster, from which the next step is decided.

A look changes nothing. A report of drift could use it, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..cluster import rotation
from ..data.identity import Identity
from ..machine import pod_process
from ..protocol import etcd, wal
from ..service import manager, systemd, unit
from ..shared.spec import Spec
from .next_step import Situation


@dataclass(frozen=True)
class Look:
    """One look at this member and its cluster."""

    situation: Situation
    service: systemd.Service
    ready: bool
    """This member itself is ready."""
    served: str
    """Fingerprint of the server certificate that it presents; empty when it does not answer."""
    witnesses: tuple[str, ...]
    """Addresses of members that read through the quorum; empty when there is none."""


def look(spec: Spec, known: Identity, *, just_joined: bool = False, forgets: bool = False) -> Look:
    """Looks once.

    Args:
        just_joined: this run has just added it as a learner. It is not asked then: it knows nothing of the cluster yet,
            and may take seconds to answer its first connection.
        forgets: its data are older than what it has confirmed, and must be discarded.
    """
    service = manager.show()
    log = wal.owner(spec.data_directory)
    has_data = wal.exists(spec.data_directory)
    quorum: etcd.Membership | None = None
    ready, served, silence = False, "", ""
    witnesses: list[str] = []
    if service.runs and has_data and not just_joined:
        try:
            answer = etcd.ready(spec, spec.address)
            served = answer.certificate
            if answer.ok:
                # `ready` has just read through the quorum, so this member's own list is as new as any other.
                quorum = etcd.peer_view(spec, spec.address)
                ready, witnesses = True, [spec.address]
        except (etcd.SilentError, etcd.AlienError):
            pass
    if not ready:
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
        differs=differs(spec, service),
        quorum=quorum,
        silence=silence,
        forgets=forgets,
    )
    return Look(situation, service, ready, served, tuple(witnesses))


def differs(spec: Spec, service: systemd.Service) -> tuple[str, ...]:
    """The running settings that differ from the desired ones, in words; empty when the process does not run.

    Only the program, its flags and the CAs that it has read count. Any other change of the unit (priorities, hardening,
    comments) is written, and takes effect when the process next starts: it is never worth a restart of its own.
    """
    live = systemd.command_of(service.pid) if service.runs else []
    if not live:
        return ()
    desired, now = unit.command(spec), unit.permanent(live)
    program = [f"{now[0]} -> {desired[0]}"] if now[0] != desired[0] else []
    flags = sorted({word.split("=", 1)[0] for word in set(desired[1:]) ^ set(now[1:])})
    authorities = ["the CAs that it trusts"] if rotation.runs_with_other_cas(service.pid) else []
    if manager.name() != spec.service_manager:
        return (f"the service manager ({manager.name()} -> {spec.service_manager})", *program, *authorities)
    image = systemd.variable_of(service.pid, pod_process.IMAGE) if spec.image else ""
    return (*program, *(["the image"] if image != spec.image else []), *flags, *authorities)
