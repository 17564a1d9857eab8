"""Restart a member when the others tolerate it. Leadership goes first."""

from __future__ import annotations

from functools import partial

from ..cluster import leadership, quorum_gate, quorum_rules, roster
from ..protocol import etcd
from ..service import manager, member
from ..shared import paths
from ..shared.errors import NodeError
from ..shared.say import phase, say, until
from ..shared.spec import Spec
from ..upgrade import old_entries, preflight, rollback
from .look import Look, differs
from .start import running_of_new

_READY_SECONDS = 60.0
_IN_STEP_SECONDS = 60.0


def restart(spec: Spec, look: Look) -> None:
    """Restarts this member. A start that fails is undone: the member gets the settings with which it ran before.

    Raises:
        NodeError: the others do not tolerate it (nothing was restarted), or it does not catch up again.
    """
    cluster = look.situation.quorum
    if cluster is None and running_of_new(spec, look) is not None:
        # There is no quorum to lose, and with the wrong settings there may never be one. The next look finds that the
        # start is still to come.
        preflight.make_ready_to_start(spec, look.witnesses)
        say(f"stops for {', '.join(look.situation.differs)}: the cluster has never had a leader")
        manager.stop()
        return
    if cluster is None:
        raise NodeError(
            f"a restart is needed ({', '.join(look.situation.differs)}), but the cluster has no quorum "
            f"({look.situation.silence or 'it does not answer'}); nothing was restarted",
            f"{quorum_rules.remedy(look.situation.silence, 'Bring the other members back first.')} Then run again.",
        )
    everyone = roster.everyone(spec, look.witnesses, cluster)
    learner = look.situation.learns  # the quorum does not need it
    rule = partial(quorum_rules.refuse_stop, spec.member)
    # The way out of a full database.
    full = look.situation.differs == (member.QUOTA,) and spec.quota_bytes > member.quota()
    voters, statuses = (
        quorum_gate.poll(everyone, cluster) if learner else quorum_gate.wait(everyone, cluster, rule, full=full)
    )
    if preflight.make_ready(everyone, statuses) and not learner:
        voters, statuses = quorum_gate.wait(everyone, cluster, rule)
    own = statuses.get(spec.member)
    others = {voter.name for voter in voters if voter.name != spec.member}
    if own is not None and own.leader == own.member_id and others:
        polled, untouched = (voters, statuses), "nothing was restarted"
        voters, statuses = leadership.hand_over(
            everyone, spec.member, cluster, polled, rule, untouched=untouched, full=full
        )
    # A learner may need long for its data; that is waited for when it is promoted.
    goal = 0 if learner else max((status.raft_index for status in statuses.values()), default=0)
    if old_entries.must_be_shed(spec):
        old_entries.shed(spec, runs=look.service.runs, learner=learner)
        _wait_in_step(everyone, goal, others)
        return  # the next look finds that the restart is still to come
    say(f"restarts for {', '.join(look.situation.differs)}")
    phase("restart")
    # The look may be minutes old, and systemd may have restarted etcd since.
    before = manager.show().pid
    if look.ready:
        rollback.remember(spec, before)
    with rollback.undone(spec):
        # Write the unit before the stop, so that any later start uses it. Another service manager's is stopped here.
        member.install_unit(spec)
        manager.restart()
        manager.wait_gone(before)
        member.wait_ready(spec, _READY_SECONDS, learner=learner)
    _wait_in_step(everyone, goal, others, full=full)
    say("is back")
    if still := differs(spec, manager.show()):
        raise NodeError(
            f"it was restarted, but its running settings still differ from the desired ones ({', '.join(still)})",
            f"Something else changes how it is started: see `systemctl cat etcd` for files below {paths.UNIT}.d. "
            "Remove it, then run again. Flags belong in the configuration.",
        )


def _wait_in_step(spec: Spec, goal: int, others: set[str], *, full: bool = False) -> None:
    """Waits until this member has no alarm, has applied what the cluster had when it stopped, and the others are ready.

    Args:
        goal: the raft index that it must have applied.
        others: names of the voters that must be ready.
        full: the database may be full, with its alarm.

    Raises:
        NodeError: it has not caught up within a minute.
    """
    phase("wait until it has caught up with the others")
    # A voter that the specification does not name has no address here.
    asked = {name: address for name, address in spec.members.items() if name in others}
    trouble = "no status"
    for _ in until(_IN_STEP_SECONDS, every=0.2):
        own = etcd.statuses(spec, {spec.member: spec.address}).get(spec.member)
        trouble = quorum_rules.trouble_of(own, None, full=full)
        if own is not None and not trouble and own.applied_index < goal:
            trouble = f"it has applied {own.applied_index} of {goal} entries"
        if not trouble:
            sick = {name: why for name, why in etcd.troubles(spec, asked).items() if why}
            trouble = "; ".join(f"{name}: {why}" for name, why in sick.items())
        if not trouble:
            return
    raise NodeError(
        f"it was restarted and has not caught up: {trouble}",
        "See `etcd-node status` and `journalctl -u etcd` here and on the other members.",
    )
