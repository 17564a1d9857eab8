"""Changes of the member list: etcd's add, promote and remove.

Etcd refuses a change while another one is in progress, and an answer can be lost. So a change is retried while etcd
says that it is too early, and counts as done when etcd says that it was done before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.say import phase, refuse_abandoned, say, until
from ..shared.spec import Spec

_RETRY_SECONDS = 60.0
WAITS_FOR_DATA = "waits until it has all data of the leader"
"""Progress of a learner that is behind."""

# What etcd says while it is too early: there is another learner, a member has just been started, or the learner is
# behind.
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

# Etcd's errors when an earlier try made the change and its answer was lost. Etcd's error for a learner that is behind
# begins with the same words.
_DONE = {
    "add": "peer urls already exists",
    "promote": "can only promote a learner",
    "remove": "member not found",
}


class FullError(NodeError):
    """Etcd adds no learner, because there is another one."""


def add_learner(spec: Spec, addresses: Sequence[str], peer_url: str) -> None:
    """Adds this member as a learner, with `change`'s errors, and FullError when another learner is in the way."""
    _change(spec, addresses, ["add", spec.member, "--learner", f"--peer-urls={peer_url}"], "add it as a learner")


def promote(
    spec: Spec, addresses: Sequence[str], member_id: int, seconds: float, meanwhile: Callable[[], None]
) -> None:
    """Makes this learner a voter.

    Args:
        addresses: members that reach the quorum; etcd lets no learner be asked.
        seconds: how long to wait until it has the leader's data.
        meanwhile: called before each try; what it raises ends the wait.
    """
    _change(
        spec,
        addresses,
        ["promote", f"{member_id:x}"],
        "promote it when it has caught up",
        seconds=seconds,
        meanwhile=meanwhile,
    )


def remove(spec: Spec, addresses: Sequence[str], entry: etcd.Member, doing: str) -> None:
    """Removes an entry; `doing` says what for, such as "remove etcd-3"."""
    _change(spec, addresses, ["remove", f"{entry.id:x}"], doing)


def _change(
    spec: Spec,
    addresses: Sequence[str],
    words: list[str],
    doing: str,
    *,
    seconds: float = _RETRY_SECONDS,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Changes the member list with etcdctl; retries while etcd says that it is too early.

    Raises:
        FullError: another learner is in the way.
        NodeError: etcd refuses for another reason, or it was too early all the time.
    """
    phase(doing)
    said, told = "", False
    for _ in until(seconds, every=0.3):
        refuse_abandoned()
        meanwhile()
        code, _, said = etcd.etcdctl(spec, addresses, ["member", *words], check=False)
        if code == 0:
            return
        if not any(text in said.lower() for text in _NOT_YET):
            if _DONE[words[0]] in said.lower():
                return
            break
        if _BEHIND in said and not told:
            say(WAITS_FOR_DATA)
            told = True
    kind = FullError if _FULL in said.lower() else NodeError
    raise kind(
        f"etcd did not {doing}: {said}",
        "Look at the other members (`etcd-node status`), then run again: it resumes from here.",
    )
