"""bootstrap: starts a cluster that has never existed, together with the other initial members."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from ..cluster import rotation
from ..data import directory, identity
from ..data.identity import Identity
from ..machine import network
from ..protocol import etcd, wal
from ..service import certificates, manager, member, release, unit
from ..shared.errors import NodeError
from ..shared.say import phase, say, until
from ..shared.spec import Bundle, Spec

_ANSWER_SECONDS = 30.0


def bootstrap(spec: Spec, bundle: Bundle) -> None:
    """Starts this member if it is an initial one and a new cluster is safe; does not wait for a quorum.

    Raises:
        NodeError: this machine or another member belongs to another cluster, the members do not reach each other, or
            etcd does not start.
    """
    if spec.member not in spec.initial_members:
        say("not an initial member: converge will join it")
        return
    known = identity.load()
    identity.refuse_another(known, spec)
    given = certificates.authority(bundle)
    identity.refuse_other_authority(known, given)
    directory.refuse_unknown_data(spec, known)
    if known is None:
        raise NodeError("this machine was not prepared", "Run `pulumi up`: prepare comes first.")
    _refuse_missing_release(spec)
    member.forbid()
    if wal.exists(spec.data_directory):
        if manager.show().runs:
            # Its certificates are for converge to write, which makes sure that no other operator is changing the
            # cluster.
            say("has been bootstrapped before and runs")
            return
        rotation.refuse_too_early(spec, bundle)
        certificates.install(bundle)
        member.install_unit(spec)
        manager.start()
        if spec.restore is not None:
            _wait_for_answers(spec)
        say("has been bootstrapped before, started")
        return

    if known.cluster_id:
        # It has been a member. Whatever happened to its data, a second bootstrap would create a second cluster.
        say("has been a member before, and has no data: converge decides")
        return
    now = manager.show()
    if now.runs or now.active == "activating":
        manager.stop()  # left by an interrupted run: a process without a log
    unfinished = directory.move_aside(spec, "unfinished")
    if unfinished is not None:
        say(f"moved the data of an unfinished start aside to {unfinished}")
    certificates.install(bundle)
    phase("ask the other members")
    views = _views(spec)
    if not _may_bootstrap(spec.member, spec.peer_url(spec.address), views):
        say(f"the cluster exists ({', '.join(views)} answered): converge will join it")
        return

    missing = [name for name in spec.initial_members if name not in spec.members]
    if missing:
        raise NodeError(
            f"the cluster was to be bootstrapped with {', '.join(missing)}, which is no longer one of its members",
            "Restore it until the cluster exists, then remove it; or run `pulumi destroy` and start again.",
        )
    network.rehearse(spec)
    phase("start etcd as an initial member")
    ours = identity.of_member(known, given, bundle.operator)
    identity.save(ours)
    network.end()
    _begin(spec, known)
    identity.record(ours)
    say("started")


def _begin(spec: Spec, known: Identity) -> None:
    """Starts etcd; `known` is the record of this machine as it was before."""
    initial = {name: spec.peer_url(spec.members[name]) for name in spec.initial_members}
    try:
        member.begin(spec, unit.bootstrap(initial, token=spec.token))
    except NodeError:
        if not wal.exists(spec.data_directory):
            # No member has started here, so nothing binds this machine to this cluster. Etcd's beginnings go first: a
            # machine that holds no member refuses data.
            directory.move_aside(spec, "unfinished")
            identity.save(known)
        raise


def _wait_for_answers(spec: Spec) -> None:
    """Waits until this member answers its peers, as far as it does so soon: the next one asks it when it starts."""
    phase("wait until it answers its peers")
    for _ in until(_ANSWER_SECONDS):
        with contextlib.suppress(etcd.SilentError, etcd.AlienError):
            etcd.peer_view(spec, spec.address, timeout=1.0, connect=1.0)
            return


def _refuse_missing_release(spec: Spec) -> None:
    if not (release.directory(spec.release.version) / "etcd").exists():
        raise NodeError(
            f"etcd {spec.release.version} is not installed on this machine", "Run `pulumi up`: prepare installs it."
        )


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


def _may_bootstrap(member: str, peer_url: str, views: Mapping[str, etcd.Membership]) -> bool:
    """Whether this member, which has no data, may bootstrap the cluster with the others.

    An entry without client URLs proves that it never ran: a member publishes them as soon as it has a leader.

    Args:
        views: the member lists of the others that answered.
    """
    entries = [view.of_slot(member, peer_url) for view in views.values()]
    return all(mine and not any(entry.started or entry.learner for entry in mine) for mine in entries)
