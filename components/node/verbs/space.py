"""defragment, recover-space: room in the database, when a person asks. maintain: when the timer does."""

from __future__ import annotations

import json
from collections.abc import Callable

from ..backup import turn
from ..cluster import claim, one_restart, quorum_rules, roster, space
from ..protocol import etcd
from ..shared import files, paths, say, spec
from ..shared.errors import NodeError
from ..shared.spec import Spec
from ..steps import recover_space as steps
from ..steps.defragment import defragment as step
from ..steps.defragment import longest


def defragment(now: str = "") -> None:
    """Defragments this member if the rule calls for it.

    Args:
        now: `--now`: whatever the rule says.

    Raises:
        NodeError: it is not safe now; nothing was defragmented.
    """
    if now not in ("", "--now"):
        raise NodeError("`etcd-node defragment` knows only --now", "See `etcd-node help`.")
    here = _here()
    waits = "" if now else _waits(here)
    if waits:
        say.say(f"nothing to do: {waits}; --now defragments it all the same")
    else:
        _defragment(here, asked=bool(now))


def recover_space() -> None:
    """Recovers from a full database; a run without that alarm changes nothing.

    Raises:
        NodeError: it is not safe, or would not help.
    """
    steps.recover(_here(), asked=True)


def due() -> Callable[[], None] | None:
    """What the timer has to do now, with the machine's lock, as the configuration says; None: nothing."""
    try:
        here = _here()
    except NodeError as error:
        say.say(f"looks again later: {error.cause}")
        return None
    wanted = here.maintenance
    if claim.holder_of(here, [here.address]) is not None:
        return None  # it would be in the way of an update
    full = any(kind == "NOSPACE" for _, kind in etcd.alarms(here, [here.address]))
    # Without a claim, which a full database does not accept, one machine does it: the first one.
    if full and wanted.recover_space and here.member == next(iter(here.members)):
        return lambda: steps.recover(here, asked=False)
    if not full and wanted.defragment and not _waits(here) and not _gives_a_snapshot(here):
        return lambda: _defragment(here, asked=False)
    return None


def _gives_a_snapshot(here: Spec) -> bool:
    """Whether a stored snapshot is taken from this member: etcd would wait for its end with all clients waiting."""
    return here.backup is not None and turn.holder(here, [here.address]) == here.member


def _here() -> Spec:
    installed = files.read_json(paths.INSTALLED)
    if installed is None:
        raise NodeError("no member of external-etcd is on this machine", "Run `pulumi up` to create one.")
    here = spec.parse(json.dumps(installed))
    say.member(here.member)
    try:
        trouble = etcd.ready(here, here.address).trouble
    except (etcd.SilentError, etcd.AlienError) as error:
        trouble = str(error)
    if trouble:
        raise NodeError(
            f"this member is not ready ({trouble}); nothing was changed",
            quorum_rules.remedy(trouble, "See `etcd-node status`."),
        )
    return here


def _waits(here: Spec) -> str:
    """Why the rule does not call for a defragmentation of this member now; empty if it does."""
    everyone = roster.everyone(here, [here.address], etcd.member_list(here, [here.address]))
    statuses = {name: each for name, each in etcd.statuses(everyone, everyone.members).items() if not each.learner}
    rule, quota = here.maintenance, here.quota_bytes
    own = statuses.get(here.member)
    if own is None:
        return "it gives no status"
    if not space.fragmented(own.db_size, own.db_in_use, quota, rule):
        return (
            f"its database has {space.describe(own)}; the rule is at most {rule.in_use_percent} %, and a file of at "
            f"least {rule.quota_percent} % of the quota ({say.size(quota)})"
        )
    before = space.goes_before(here.member, statuses, quota, rule)
    return f"it leads, so it is the last one, and {before} comes before it" if before else ""


def _defragment(here: Spec, *, asked: bool) -> None:
    witnesses = [here.address]
    with one_restart.alone(here, witnesses, seconds=longest(here.quota_bytes)):
        holder = claim.holder_of(here, witnesses)
        if holder is not None:
            raise NodeError(
                f"an operator is changing this cluster, or was interrupted: {holder}; nothing was defragmented",
                "Run again when that update has ended.",
            )
        # Another one may have had its turn, or led, until now.
        if asked or not _waits(here):
            cluster = etcd.member_list(here, witnesses)
            step(roster.everyone(here, witnesses, cluster), here.member, cluster)
