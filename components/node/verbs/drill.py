"""drill: proves that the newest stored snapshot can be restored, in a scratch etcd on the machine that stored it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..backup import drill_key, drill_unit, proof, retrieve, scratch, store, turn
from ..data import snapshot
from ..protocol import snapshot_file
from ..service import member
from ..shared import files, paths, say, spec
from ..shared.errors import NodeError
from ..shared.say import more_time, phase
from ..shared.spec import Spec

_SLOWEST = 5 << 20
"""Bytes per second, at the priority of the drill."""
_LEAST_SECONDS = 60.0
_WHY = (
    "Take a new snapshot now (`etcd-node snapshot`). Find out what has changed this one: the store, a person, or "
    "another cluster of the same name that stores there. Do not rely on older ones before you know."
)
_KILLED = "See `journalctl -u etcd-drill`; -9 means that something took more memory than the drill may have."


def drill(*, scheduled: bool) -> str:
    """Proves a restore, if this machine has the key of the newest snapshot; returns a sentence about it.

    Args:
        scheduled: this is the unit with its limits, and not a person who starts it.

    Raises:
        NodeError: the restore is not proved; this is also what `status` shows.
    """
    installed = files.read_json(paths.INSTALLED)
    wanted = spec.parse(json.dumps(installed)) if installed is not None else None
    if wanted is None or wanted.backup is None or not wanted.backup.drill:
        raise NodeError("no drill is configured for this machine", "Set `backup`, with `drill`, and run `pulumi up`.")
    say.member(wanted.member)
    if not scheduled:
        drill_unit.wait()
        return _told(drill_unit.result())
    if not paths.DRILL_RUN.is_dir():
        raise NodeError("`--scheduled` is for systemd, which sets the limits", "Run `etcd-node drill`.")
    try:
        outcome = _drill(wanted)
    except (NodeError, OSError) as error:
        cause = error.cause if isinstance(error, NodeError) else f"a file could not be read or written ({error})"
        remedy = error.remedy if isinstance(error, NodeError) else "Check the disk (`df -h`, `dmesg`)."
        drill_unit.record(time.time(), {"cause": cause, "remedy": remedy})
        raise
    drill_unit.record(time.time(), outcome)
    return _told(drill_unit.result())


def _told(result: Mapping[str, Any]) -> str:
    if "cause" in result:
        raise NodeError(str(result["cause"]), str(result["remedy"]))
    return str(result.get("said") or result.get("waits", ""))


def _drill(wanted: Spec) -> dict[str, str]:
    """Proves the restore, or says why that waits.

    Raises:
        NodeError: it is not proved.
    """
    phase("ask the members")
    scratch.remove(wanted.data_directory)
    addresses, status = turn.ask(wanted)
    last, remembered = turn.last(wanted, addresses), proof.last(wanted, addresses)
    stored = drill_key.kept(last)
    if stored is None:
        return _without_a_key(wanted, last, remembered)
    before = drill_unit.result()
    late = "waits" in before and time.time() - before["since"] > drill_unit.LATE_SECONDS
    if status.leader == status.member_id and len(wanted.members) > 1 and not late:
        return {"waits": "this member leads the cluster now, so the next snapshot is restored, by a follower"}
    name, begin = str(stored["name"]), time.time()
    drill_unit.began(begin, name)
    try:
        content = _prove(wanted, stored)
    except (NodeError, OSError) as error:
        cause = error.cause if isinstance(error, NodeError) else str(error)
        failed = {"name": name, "member": wanted.member, "cause": cause, "at": int(time.time())}
        # Etcd may be what is wrong.
        with contextlib.suppress(NodeError):
            newest = turn.last(wanted, addresses)
            if newest is not None and newest["name"] != name and cause.startswith(f"there is no {name}"):
                return {"waits": f"{name} was deleted when {newest['name']} had been stored, which is restored next"}
            proof.remember(wanted, addresses, {**remembered, "failed": failed})
        raise
    now = time.time()
    proved = {
        "name": name,
        "place": stored["place"],
        "member": wanted.member,
        "taken": stored["taken"],
        "at": int(now),
        "seconds": round(now - begin),
        "revision": content.revision,
        "keys": content.keys,
        "hash": f"{content.checksum:08x}",
    }
    try:
        proof.remember(wanted, addresses, {"proved": proved})
    except NodeError as error:
        raise NodeError(
            f"the restore of {name} is proved, but etcd has not recorded that: {error.cause}", error.remedy
        ) from None
    drill_key.drop(name)
    return {"said": f"the restore of {name} is proved: {content}, in {proved['seconds']} s"}


def _without_a_key(
    wanted: Spec, last: Mapping[str, Any] | None, remembered: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    if last is None:
        return {"said": "no snapshot is stored yet"}
    proved = remembered.get("proved", {})
    if proved.get("name") == last["name"]:
        return {"said": f"{proved['member']} has proved the restore of the newest snapshot, {last['name']}"}
    if last["member"] != wanted.member:
        return {"said": f"{last['member']} has the key of the newest snapshot, {last['name']}: it works there"}
    return {
        "waits": f"the key of the newest snapshot, {last['name']}, is gone with a restart or a replacement of this "
        "machine, so the next snapshot is restored when it is stored"
    }


def _prove(wanted: Spec, stored: Mapping[str, Any]) -> snapshot.Content:
    """Reads the snapshot back, restores it, and compares.

    Raises:
        NodeError: something differs, or it cannot be done here.
    """
    backup, version, name = wanted.backup, member.version(), str(stored["name"])
    assert backup is not None  # noqa: S101  `drill` has seen to it
    store.refuse_here(backup, wanted.data_directory)
    size, place = int(stored["database_bytes"]), scratch.directory(wanted.data_directory)
    scratch.refuse_room(wanted.data_directory, size)
    files.directory(place, 0o700)
    path, seconds = place / "snapshot.db", _LEAST_SECONDS + size / _SLOWEST
    more_time(5 * seconds)
    try:
        _retrieve(wanted, stored, path, size)
        phase("compare the snapshot with what was stored")
        with _of(name):
            content = snapshot.content_of(path, version, seconds)
        _refuse(name, proof.unlike_stored(stored, content, version), path, wanted.cluster)
        with _of(name):
            before = snapshot_file.revisions(path, content.revision)
            served, database = scratch.serve(wanted.data_directory, version, content.revision, seconds)
            phase("compare the restored etcd with the snapshot")
            after = snapshot_file.revisions(database, content.revision)
        _refuse(name, proof.unlike_served(content, before, after, served, version), path, wanted.cluster)
    finally:
        scratch.remove(wanted.data_directory)
    return content


@contextlib.contextmanager
def _of(name: str) -> Iterator[None]:
    """Errors of the block are about this snapshot."""
    try:
        yield
    except NodeError as error:
        raise NodeError(f"{name} cannot be restored here: {error.cause}", f"{error.remedy} {_KILLED}") from None
    except snapshot_file.DamagedError as error:
        raise NodeError(f"{name} cannot be restored: {error}", _WHY) from None


def _retrieve(wanted: Spec, stored: Mapping[str, Any], path: Path, size: int) -> None:
    backup, name = wanted.backup, str(stored["name"])
    assert backup is not None  # noqa: S101  `drill` has seen to it
    try:
        retrieve.retrieve(backup, name, str(stored["identity"]), path, spare=size + scratch.SPARE)
    except NodeError as error:
        # What it says of the file itself; the rest is about the store and this machine.
        if error.cause.startswith(name):
            raise NodeError(f"{error.cause}; so it cannot be restored", _WHY) from None
        raise


def _refuse(name: str, differences: list[str], path: Path, cluster: str) -> None:
    """Refuses a snapshot that differs.

    Raises:
        NodeError: it does; says whose it is, if it is another cluster's.
    """
    if not differences:
        return
    with _of(name):
        whose = snapshot_file.read(path).cluster
    found = f"it is a snapshot of the cluster {whose!r}" if whose not in ("", cluster) else "; ".join(differences)
    raise NodeError(f"{name} is not what was stored under that name: {found}", _WHY)
