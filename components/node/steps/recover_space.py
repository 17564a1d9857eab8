"""A full database (alarm NOSPACE): compact, defragment every member, disarm the alarm, prove that a write works."""

from __future__ import annotations

from functools import partial

from ..cluster import quorum_gate, quorum_rules, roster, space
from ..protocol import etcd
from ..service import member
from ..shared.errors import NodeError
from ..shared.say import phase, say, size
from ..shared.spec import Spec
from .defragment import defragment

_COMPACT_SECONDS = 120.0
_DONE_BEFORE = "required revision has been compacted"


def recover(spec: Spec, *, asked: bool) -> None:
    """Makes room, unless there is no alarm. The next run completes an interrupted one.

    A full database accepts no key, so no claim and no lease can keep another run away. But a member that is being
    defragmented is not healthy, and each step waits until all are.

    Args:
        asked: by a person. Otherwise it gives up earlier: it runs again in some minutes, and each time costs clients.

    Raises:
        NodeError: not all members are healthy, or live data alone fill the quota. The alarm stays.
    """
    cluster = etcd.member_list(spec, [spec.address])
    if not etcd.alarms(spec, [spec.address]):
        say("there is no alarm: nothing to recover from")
        return
    everyone = roster.everyone(spec, [spec.address], cluster)
    quota = member.quota() or spec.quota_bytes
    rule = partial(quorum_rules.refuse_unhealthy, "the database would be compacted")
    voters, statuses = quorum_gate.wait(everyone, cluster, rule, full=True)
    before = max(status.db_size for status in statuses.values())
    own = statuses[spec.member]
    useless = space.full_of_data(own, quota) and space.share(own) >= space.FULL_PERCENT
    if not _compact(everyone, statuses) and not asked and useless:
        raise _full(spec.member, own, quota)
    for name in space.order([voter.name for voter in voters], statuses):
        now = defragment(everyone, name, cluster, full=True)
        if space.full_of_data(now, quota):
            raise _full(name, now, quota)
    phase("disarm the alarm")
    etcd.disarm_nospace(spec, spec.address)
    _prove(spec)
    say(f"the alarm is disarmed, and a write works: the database had {size(before)} of the quota of {size(quota)}")


def _compact(spec: Spec, statuses: dict[str, etcd.Status]) -> bool:
    """Removes all old revisions; returns whether there may have been some."""
    phase("compact")
    revision = max(status.revision for status in statuses.values())
    words = ["compact", "--physical", str(revision)]
    code, _, said = etcd.etcdctl(spec, [spec.address], words, _COMPACT_SECONDS, check=False)
    if code != 0 and _DONE_BEFORE not in said:
        raise NodeError(f"etcd did not compact to revision {revision}: {said}", "Run again.")
    say(f"{'compacted' if code == 0 else 'was compacted before'} to revision {revision}")
    return code == 0


def _prove(spec: Spec) -> None:
    phase("prove that a write works")
    roster.note(spec, [spec.address])
    if etcd.alarms(spec, [spec.address]):
        raise NodeError(
            "the alarm was disarmed, and etcd has raised one again",
            "See `etcd-node status`. A learner has a database, too, and cannot be defragmented: remove it.",
        )


def _full(name: str, status: etcd.Status, quota: int) -> NodeError:
    return NodeError(
        f"without old revisions and free pages, the database of {name} still has {size(status.db_size)} of the quota "
        f"of {size(quota)}: all of it is live data, so the alarm stays",
        "Raise `quota` in an update that changes nothing else, or delete keys (`etcdctl del`). Then run this again.",
    )
