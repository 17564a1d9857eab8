"""Start a member that has data, and wait until it is ready."""

from __future__ import annotations

from ..protocol import etcd
from ..service import manager, member
from ..shared.errors import NodeError
from ..shared.say import phase, say, until
from ..shared.spec import Spec
from ..upgrade import old_entries, preflight, rollback
from .look import Look

# After a network partition of a minute, TCP and etcd need half a minute to connect again.
_READY_SECONDS = 60.0
# An etcd that has just been started does not answer its peers yet.
_SERVES_SECONDS = 3.0


def start(spec: Spec, look: Look) -> None:
    """Starts this member. A start that fails is undone: the member gets the settings with which it ran before.

    Raises:
        NodeError: another version must not start now, or etcd ends, or it is not ready in time.
    """
    say("starts")
    preflight.make_ready_to_start(spec, look.witnesses)
    if old_entries.must_be_shed(spec):
        old_entries.shed(spec, runs=look.service.runs, learner=look.situation.learns)
        return  # the next look finds that the start is still to come
    member.make_data_directory(spec)
    with rollback.undone(spec):
        member.install_unit(spec)
        manager.start()
        wait_ready(spec, look)


def wait_ready(spec: Spec, look: Look) -> bool:
    """Waits until this member is ready.

    Returns:
        False when it can only become ready later, because others come after this member and none has had its turn: the
        cluster is new and too few have begun, or the certificates of the others have expired.

    Raises:
        NodeError: it is not ready in time.
    """
    phase("wait until it is ready")
    if _is_among_the_first(spec, look) or _others_have_expired(spec, look):
        return False
    try:
        member.wait_ready(spec, _READY_SECONDS, learner=look.situation.learns)
    except member.StartError:
        raise
    except NodeError:
        # Members that have just been started take a moment until they answer.
        if _others_have_expired(spec, look):
            return False
        raise
    return True


def _is_among_the_first(spec: Spec, look: Look) -> bool:
    """Whether the cluster has never had a leader, and too few of its members run for one."""
    found = running_of_new(spec, look)
    if found is None or found[0] > found[1] // 2:
        return False
    say("becomes ready with the members that begin after it")
    return True


def running_of_new(spec: Spec, look: Look) -> tuple[int, int] | None:
    """How many members run of a cluster that has never had a leader, and how many it has; None: it has had one."""
    if look.situation.quorum is not None:
        return None
    views = {}
    for _ in until(_SERVES_SECONDS, every=0.05):
        views = etcd.each(lambda address: etcd.peer_view(spec, address, connect=1.0), spec.members)
        if isinstance(views[spec.member], etcd.Membership):
            break
    own = views[spec.member]
    # A member publishes its client URLs as soon as it has a leader.
    if not isinstance(own, etcd.Membership) or any(entry.started for entry in own.members):
        return None
    run = [view for view in views.values() if isinstance(view, etcd.Membership) and view.cluster_id == own.cluster_id]
    return len(run), len(own.members)


def _others_have_expired(spec: Spec, look: Look) -> bool:
    if look.situation.quorum is not None:
        return False
    # Without a quorum etcd answers its peers, and not its clients.
    answers = etcd.each(lambda address: etcd.peer_view(spec, address), spec.others)
    late = [name for name, answer in answers.items() if etcd.EXPIRED in str(answer)]
    if late:
        say(f"the certificates of {', '.join(late)} have expired: it becomes ready when they are renewed")
    return bool(late)
