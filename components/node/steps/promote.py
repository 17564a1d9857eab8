"""Promote a learner to a voter, when it has the leader's data and serves its clients."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial

from ..cluster import membership
from ..protocol import etcd
from ..service import manager, member, systemd
from ..shared.errors import NodeError, OverdueError
from ..shared.say import more_time, phase, refuse_abandoned, say, until
from ..shared.spec import Spec
from .look import Look

_PROMOTE_SECONDS = 150.0
_SLOWEST = 10 << 20
"""Bytes per second: lowest assumed rate of a learner's copy."""
_ANNOUNCED_SECONDS = 0.5
"""By then a learner with all data has published its URLs, unless it missed its own entry."""
_METRICS_SECONDS = 5.0
_AGAIN_SECONDS = 15.0
_LAST_SECONDS = 5.0
_STOP_SECONDS = 2.0


def promote(spec: Spec, look: Look) -> None:
    """Waits until this learner serves its clients, and makes it a voter. The time for it grows with the database.

    Raises:
        NodeError: its process ends again and again, or it does not catch up in time.
    """
    witnesses = [address for address in look.witnesses if address != spec.address] or list(spec.others.values())
    member_id = look.situation.member_id or 0
    # Members that have yet to join are not asked: each would cost a timeout.
    there = {name: address for name, address in spec.others.items() if address in look.witnesses}
    size = max((status.db_size for status in etcd.statuses(spec, there).values()), default=0)
    more_time(size / _SLOWEST)
    seconds = _PROMOTE_SECONDS + size / _SLOWEST
    # The leader's data may be what ends the process, and systemd would restart it for ever.
    alive = partial(member.refuse_looping, look.service.restarts)
    begin = time.monotonic()
    _wait_until_announced(spec, member_id, seconds, alive)
    # Systemd counts restarts from 0 again if etcd was started again.
    alive = partial(member.refuse_looping, min(look.service.restarts, manager.show().restarts))
    left = max(seconds - (time.monotonic() - begin), _LAST_SECONDS)
    membership.promote(spec, witnesses, member_id, left, alive)
    say("is a voter")


def _wait_until_announced(spec: Spec, member_id: int, seconds: float, alive: Callable[[], None]) -> None:
    """Waits until this learner has published its client URLs: only then does it serve clients.

    An etcd that receives a snapshot may find its own publication in it. Then it misses the confirmation, and publishes
    again only after its request timeout, 7 s with etcd's default timers. If it is restarted with these data, it
    publishes at once. Nothing depends on a learner yet; as a voter it would serve no client for these seconds.

    Args:
        seconds: how long to wait; the promotion gets the rest, and also waits for the data.
        alive: raises NodeError when the process ends again and again.
    """
    phase("wait until it serves its clients")
    mute = behind = 0.0
    told = False
    since: float | None = None
    for left in until(seconds, every=0.1):
        refuse_abandoned()
        alive()
        with contextlib.suppress(etcd.SilentError, etcd.AlienError):
            etcd.ready(spec, spec.address, timeout=_ANNOUNCED_SECONDS, learner=True)
            return
        has_everything = etcd.has_everything(spec)
        if has_everything is None:
            mute = mute or left
            if mute - left > _METRICS_SECONDS:
                return  # the promotion finds out
            continue
        mute = 0.0
        if not has_everything:
            behind = behind or left
            if behind - left > 1 and not told:
                say(membership.WAITS_FOR_DATA)
                told = True
        since = (since or left) if has_everything else None
        if since is not None and since - left >= _ANNOUNCED_SECONDS:
            break
    else:
        return
    _restart_learner(spec, member_id)


def _restart_learner(spec: Spec, member_id: int) -> None:
    """Restarts a learner at once, and waits for it. A member that has become a voter is left alone."""
    with contextlib.suppress(etcd.SilentError, etcd.AlienError):
        # Its peer port answers before its client port does.
        own = etcd.peer_view(spec, spec.address).by_id(member_id)
        if own is not None and not own.learner:
            return
    say("restarts: it has all data, and would publish its address only after etcd's request timeout")
    before = manager.show().pid
    manager.restart()
    # Killed only when systemd stops it: a process that ends by itself is restarted after 5 s. It serves no client.
    for _ in until(_STOP_SECONDS, every=0.02):
        now = manager.show()
        if now.pid != before:
            break
        if now.active == "deactivating":
            systemd.kill(before)
            break
    try:
        member.wait_ready(spec, _AGAIN_SECONDS, learner=True)
    except (member.StartError, OverdueError):
        raise
    except NodeError:
        return  # the promotion finds out
