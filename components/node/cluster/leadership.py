"""Leadership goes to another voter before its member stops or leaves: then the cluster serves without a pause.

If a leader just stops, the others need an election, which takes one election timeout or more.
"""

from __future__ import annotations

import contextlib
import time

from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.say import phase, say
from ..shared.spec import Spec
from . import quorum_gate, quorum_rules
from .quorum_gate import Poll, Rule

# Healthy voters follow a new leader within milliseconds; one that does not answer costs five seconds per poll.
_FOLLOW_SECONDS = 20.0


def hand_over(
    spec: Spec,
    leader: str,
    cluster: etcd.Membership,
    polled: Poll,
    rule: Rule,
    *,
    untouched: str,
    full: bool = False,
) -> Poll:
    """Moves leadership from one member to another voter, and waits until the others follow the new leader.

    Each of them was healthy with the old leader. Only now it shows whether they reach each other. If they do not,
    leadership returns.

    Args:
        spec: the members that can be asked, with their addresses; the leader must be one of them.
        leader: name of the member that leads, this one or another.
        polled: the voters that may lead next, as `quorum_gate` returned them, and their statuses; the leader's status
            must be there.
        rule: the rule of the step for which leadership has to go.
        untouched: what did not happen if this fails, for the message, such as "nothing was restarted".
        full: the database may be full.

    Returns:
        All voters and statuses under the new leader.

    Raises:
        NodeError: no voter can take over, the leader does not change, or the others do not follow the new one.
    """
    voters, statuses = polled
    heir = _move(spec, leader, voters, statuses, untouched)
    try:
        return quorum_gate.wait(spec, cluster, rule, _FOLLOW_SECONDS, full=full)
    except NodeError as error:
        code = 1
        with contextlib.suppress(NodeError):
            words = ["move-leader", f"{statuses[leader].member_id:x}"]
            code, _, _ = etcd.etcdctl(spec, [spec.members[heir]], words, check=False)
        raise NodeError(
            f"with {heir} as the leader{f', and {leader} leads again' if code == 0 else ''}: {error.cause}",
            f"Can all members reach each other on port {spec.peer_port}? {error.remedy}",
        ) from None


def _move(
    spec: Spec, leader: str, voters: list[quorum_rules.Voter], statuses: dict[str, etcd.Status], untouched: str
) -> str:
    """Moves leadership; returns the name of the new leader."""
    address = spec.members[leader]
    heir = quorum_rules.heir(leader, voters, statuses)
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
            say(f"{leader} handed leadership to {heir}" if leader != spec.member else f"handed leadership to {heir}")
            return heir
        if code == 0:
            time.sleep(0.2)
    raise NodeError(
        f"{leader} could not hand its leadership to {heir} ({said}); {untouched}",
        "Run again; see `etcd-node status` on both when it fails again.",
    )
