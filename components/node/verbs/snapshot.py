"""snapshot: takes a snapshot of the cluster, encrypts it, and keeps it elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..backup import archive, drill_key, drill_unit, proof, retention, store, turn
from ..cluster import lease
from ..protocol import etcd
from ..service import member
from ..shared import files, paths, spec
from ..shared.errors import NodeError
from ..shared.say import more_time, phase, say, until

_WAIT_SECONDS = 6 * 3600.0
_LOOK_SECONDS = 3.0
_LEADER_SECONDS = 10.0
"""How long the leader leaves the work to the others."""
_FRESH_SECONDS = 45.0
"""Timers of the members go off within this time."""
_SAME_TIME_SECONDS = 600
"""Drills that begin within this time are one: all members have the timer."""


def snapshot(*, scheduled: bool = False) -> str:
    """Takes a snapshot on this machine, or with `scheduled` on one of the members; returns a sentence about it.

    Every member's timer goes off at the same time. One takes the turn, and the others wait until it has stored its
    snapshot; when it fails or dies, the next one takes over. The leader waits for the others first.

    Raises:
        NodeError: it failed; this is also what `status` shows.
    """
    installed = files.read_json(paths.INSTALLED)
    wanted = spec.parse(json.dumps(installed)) if installed is not None else None
    if wanted is None or wanted.backup is None:
        raise NodeError("no snapshots are configured for this machine", "Set `backup` and run `pulumi up`.")
    os.nice(10)
    with _alone():
        try:
            said = _snapshot(wanted, scheduled=scheduled)
        except (NodeError, OSError) as error:
            cause = error.cause if isinstance(error, NodeError) else f"a file could not be read or written ({error})"
            remedy = error.remedy if isinstance(error, NodeError) else "Check the disk (`df -h`, `dmesg`)."
            _record({"cause": cause, "remedy": remedy})
            raise
        _record({})
        return said


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One at a time on this machine; other verbs are not kept waiting, because an upload can take long."""
    descriptor = os.open(paths.BACKUP_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise NodeError(
            "another `etcd-node snapshot` works on this machine", f"See `systemctl status {paths.BACKUP_UNIT}`."
        ) from None
    finally:
        os.close(descriptor)


def _record(result: Mapping[str, str]) -> None:
    now = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    files.write(paths.BACKUP_RESULT, json.dumps({"at": now, **result}, indent=2) + "\n", 0o600)


def _snapshot(wanted: spec.Spec, *, scheduled: bool) -> str:
    """Waits for this member's turn, or until another one has stored a snapshot."""
    first: Mapping[str, Any] | None = None
    looks, told = 0, ""
    for left in until(_WAIT_SECONDS, every=_LOOK_SECONDS):
        more_time(_LOOK_SECONDS)
        addresses, status = turn.ask(wanted)
        last = turn.last(wanted, addresses)
        first, looks = (last if not looks else first), looks + 1
        if (
            scheduled
            and last is not None
            and (last != first or abs(time.time() - float(last["taken"])) < _FRESH_SECONDS)
        ):
            # The key of an older snapshot ends with it.
            drill_key.kept(last)
            return f"{last['member']} has stored {last['name']}"
        leads = status.leader == status.member_id
        if scheduled and leads and len(addresses) > 1 and left > _WAIT_SECONDS - _LEADER_SECONDS:
            continue
        try:
            own = turn.take(wanted, addresses)
        except lease.FullError:
            return _without_a_turn(wanted, addresses, status)
        if own is not None:
            with turn.kept(own):
                return _work(wanted, addresses, status)
        if not told:
            told = "waits for the member that takes the snapshot"
            say(told)
    raise NodeError("another member has not stored its snapshot within hours", "See `etcd-node status` on the others.")


def _without_a_turn(wanted: spec.Spec, addresses: list[str], status: etcd.Status) -> str:
    """The database is full, so etcd accepts no key. Of the followers that answer, the first in the list works."""
    leader = status.leader
    followers = [name for name, each in etcd.statuses(wanted, wanted.members).items() if each.member_id != leader] or [
        wanted.member
    ]
    if followers[0] != wanted.member:
        return f"the database is full, so {followers[0]} takes the snapshot without asking the others"
    return _work(wanted, addresses, status)


def _work(wanted: spec.Spec, addresses: list[str], status: etcd.Status) -> str:
    """Takes, encrypts and stores a snapshot, then deletes those that need not be kept."""
    backup = wanted.backup
    assert backup is not None  # noqa: S101  `snapshot` has seen to it
    store.refuse_here(backup, wanted.data_directory)
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
    version = member.version()
    key = drill_key.create(backup) if backup.drill else None
    made = archive.create(wanted, version, status, now, [key.recipient] if key is not None else [])
    name, size = made.path.name, made.path.stat().st_size
    phase(f"store {name} in {backup}")
    try:
        store.put(backup, made.path, made.digest)
    except NodeError as error:
        raise NodeError(f"{error.cause}; the snapshot is kept at {made.path}", error.remedy) from None
    taken = now.replace(tzinfo=datetime.timezone.utc).timestamp()
    value = {
        "name": name,
        "place": str(backup),
        "member": wanted.member,
        "taken": int(taken),
        "revision": made.content.revision,
        "keys": made.content.keys,
        "hash": f"{made.content.checksum:08x}",
        "bytes": size,
        "database_bytes": made.size,
        "version": version,
    }
    # Without the key of the last one, which is not the newest any more.
    drill_key.drop()
    if key is not None:
        drill_key.keep(key, value)
    with contextlib.suppress(NodeError):  # a full database accepts nothing; it is stored all the same
        turn.remember(wanted, addresses, value)
    made.path.unlink()
    if key is not None:
        _begin_drill(wanted, addresses)
    _delete_old(wanted, name)
    return f"stored {name} in {backup}: {made.content}, {size} bytes"


def _begin_drill(wanted: spec.Spec, addresses: list[str]) -> None:
    """Starts the drill if it was due before this snapshot, and none was proved: not at this time, or never yet."""
    with contextlib.suppress(NodeError):
        proved = proof.last(wanted, addresses).get("proved")
        if proved is None or drill_unit.result().get("at", 0) - proved["at"] > _SAME_TIME_SECONDS:
            drill_unit.start()


def _delete_old(wanted: spec.Spec, newest: str) -> None:
    backup = wanted.backup
    if backup is None or backup.keep is None:
        return
    phase("delete old snapshots")
    try:
        for name in retention.superfluous(store.listed(backup), newest, backup.keep):
            store.delete(backup, name)
            say(f"deleted {name}")
    except NodeError as error:
        raise NodeError(
            f"{newest} is stored, but older snapshots could not be deleted: {error.cause}",
            f"{error.remedy} Without `backup.keep`, machines delete nothing, and the store's own rules can do it.",
        ) from None
