"""Start a member that has data, and wait until it is ready."""

from __future__ import annotations

from ..protocol import etcd
from ..service import manager, member
from ..shared.errors import NodeError
from ..shared.say import phase, say
from ..shared.spec import Spec
from ..upgrade import old_entries, preflight, rollback
from .look import Look

# After a network partition of a minute, TCP and etcd need half a minute to connect again.
_READY_SECONDS = 60.0


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
        False when it can only become ready later: there is no quorum, because the certificates of other members have
        expired. They get theirs one after another, after this member: if each waited for a quorum, none would get any.

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
        # Members that have just been started take a moment until they answer.
        if _others_have_expired(spec, look):
            return False
        raise
    return True


def _others_have_expired(spec: Spec, look: Look) -> bool:
    if look.situation.quorum is not None:
        return False
    # Without a quorum etcd answers its peers, and not its clients.
    answers = etcd.each(lambda address: etcd.peer_view(spec, address), spec.others)
    late = [name for name, answer in answers.items() if etcd.EXPIRED in str(answer)]
    if late:
        say(f"the certificates of {', '.join(late)} have expired: it becomes ready when they are renewed")
    return bool(late)
