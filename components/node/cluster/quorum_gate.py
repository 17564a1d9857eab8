"""The gate before a step that costs a voter: every voter is asked, and a rule of `quorum_rules` decides.

A gate asks just before the step. What was known earlier does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.say import refuse_abandoned, say, until
from ..shared.spec import Spec
from . import quorum_rules
from .quorum_rules import Voter

GATE_SECONDS = 60.0
"""How long a gate waits for other members."""
_NOBODY_THERE_SECONDS = 10.0

Rule = Callable[[Sequence[Voter]], None]
"""Raises NodeError when these voters do not allow the step."""

Poll = tuple[list[Voter], dict[str, etcd.Status]]
"""Every voter with its trouble, and the statuses of the members that gave one, by name."""


def wait(
    spec: Spec, cluster: etcd.Membership, rule: Rule, seconds: float = GATE_SECONDS, *, full: bool = False
) -> Poll:
    """Waits until the voters allow a step: one of them may still be restarting.

    It does not wait for an alarm, which never ends by itself, and only 10 s for members whose machines do not answer.

    Args:
        spec: the members that can be asked, with their addresses.
        full: the database may be full.

    Raises:
        NodeError: they do not allow it; names the member that prevents it.
    """
    refusal: NodeError | None = None
    for left in until(seconds, every=0.2):
        voters, statuses = poll(spec, cluster, full=full)
        refuse_abandoned()
        try:
            rule(voters)
        except NodeError as error:
            refusal = error
        else:
            return voters, statuses
        if left == seconds:
            say("waits for the other members to be healthy")
        if any("alarm " in voter.trouble for voter in voters):
            break
        absent = all(voter.trouble in ("", etcd.REFUSED, etcd.RESET, etcd.UNREACHED) for voter in voters)
        if absent and left < seconds - _NOBODY_THERE_SECONDS:
            break
    assert refusal is not None  # noqa: S101  until yields at least once
    raise refusal


def poll(spec: Spec, cluster: etcd.Membership, *, full: bool = False) -> Poll:
    """Asks every voter once. Voters are in the order of the specification; those that it does not name are last."""
    names = {entry.id: entry.name or f"the unstarted member {entry.id:x}" for entry in cluster.voters}
    numbers = {name: number for number, name in names.items()}
    addresses = {name: spec.members[name] for name in names.values() if name in spec.members}
    answers = etcd.each(lambda address: etcd.ready(spec, address), addresses)
    statuses = etcd.statuses(
        spec, {name: address for name, address in addresses.items() if isinstance(answers[name], etcd.Ready)}
    )
    leader = next((status for status in statuses.values() if status.leader == status.member_id), None)
    voters = []
    for name in names.values():
        answer = answers.get(name)
        if answer is None:
            trouble = f"{quorum_rules.STRANGER} (ID {numbers[name]:x})"
        elif not isinstance(answer, etcd.Ready):
            trouble = str(answer)
        else:
            trouble = answer.trouble or quorum_rules.trouble_of(statuses.get(name), leader, full=full)
        voters.append(Voter(name, trouble))
    order = list(spec.members)
    voters.sort(key=lambda voter: order.index(voter.name) if voter.name in order else len(order))
    return voters, statuses
