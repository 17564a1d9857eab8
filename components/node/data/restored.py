"""Data restored from a snapshot: first beside the member's, then in their place.

The restore takes as long as the snapshot is large, and can fail. So it is done beside the data, while the member
serves. Afterwards two renames put the result in place. A mark inside says to which restore the data belong: it moves
with them, so it is right wherever a run ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import time
from pathlib import Path
from typing import NamedTuple

from ..machine import account
from ..protocol import wal
from ..service import release
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import more_time, phase, say
from ..shared.spec import Restore, Spec
from . import directory, identity

FOLDER = ".external-etcd-restore-"
"""Beginning of the snapshot's folder, in the home of the login; the member, a dot and the name of the run follow."""
BUMP = 1_000_000_000
"""Each restore raises the revision by this times its number. So revisions never go back, even if one snapshot is
restored twice, as long as a cluster writes less than this between two restores."""
_MARK = ".restored"
_SLOWEST = 10 << 20
_LEAST_SECONDS = 60.0


class Mark(NamedTuple):
    """What restored data say of themselves; empty texts: they are from no restore."""

    token: str = ""
    """etcd's initial cluster token, unique to the restore."""
    sha256: str = ""
    """Of the snapshot; empty if an earlier version of this program has restored it."""
    source: str = ""
    """Name of the snapshot in the store; empty: it was a file."""


def of(spec: Spec) -> str:
    """Token of the restore from which the member's data are; empty if they are from none."""
    return _marked(Path(spec.data_directory)).token


def mark(spec: Spec, restore: Restore) -> Mark:
    """The mark of this restore's data, in their place or beside it; an empty one if they are not on this machine."""
    for place in (Path(spec.data_directory), _place(spec)):
        there = _marked(place)
        if there.token == restore.token:
            return there
    return Mark()


def stage(spec: Spec, restore: Restore, name: str) -> None:
    """Restores the snapshot beside the member's data, unless it is there. The snapshot is removed afterwards.

    Args:
        name: the snapshot's folder, absolute or relative to the login's home.

    Raises:
        NodeError: the snapshot is another one or damaged, or there is no room; nothing was changed.
    """
    folder = _folder(name)
    place = _place(spec)
    if _marked(place).token != restore.token:
        snapshot = folder / "snapshot.db"
        _check(snapshot, restore)
        size = snapshot.stat().st_size
        directory.check_room(spec, size)
        seconds = _LEAST_SECONDS + size / _SLOWEST
        more_time(3 * seconds)
        _verify(spec, snapshot, seconds)
        _restore(spec, restore, snapshot, place, seconds)
        # Until here somebody could have changed it.
        _check(snapshot, restore)
        user = account.get()
        for path in [place, *place.rglob("*")]:
            os.chown(path, user.uid, user.gid)
            _sync(path)
        # Last, because it says that all of it is there.
        told = "\n".join(Mark(restore.token, restore.sha256, restore.source))
        files.write(place / "member" / _MARK, told, 0o600, user.uid, user.gid)
        say(f"the snapshot is verified (SHA-256 {restore.sha256[:12]}...) and restored beside the data")
    if folder.is_dir():
        files.remove_tree(folder)


def put_in_place(spec: Spec, restore: Restore) -> None:
    """Moves the member's data aside, and the restored ones in their place. Etcd must be stopped.

    Raises:
        NodeError: there are none; nothing was changed.
    """
    place, data = _place(spec), Path(spec.data_directory)
    done = files.read_json(paths.RESTORED) or {}
    if done.get("token") == restore.token:
        # A member that has begun with them has promised things that a copy of the snapshot does not know.
        raise NodeError(
            f"the data of the restore {restore.number} were here, and are gone",
            "Raise the number of the restore, so that all members begin anew.",
        )
    if _marked(place).token != restore.token:
        raise NodeError("the restored data are not on this machine; nothing was changed", "Run again.")
    moved = directory.move_aside(spec, f"before-restore-{restore.number}")
    if moved is not None:
        say(f"old data moved aside to {moved}")
    user = account.get()
    files.directory(data, 0o700, user.uid, user.gid)
    (place / "member").rename(data / "member")
    files.sync_directory(data)
    files.remove_tree(place)


def record(restore: Restore) -> None:
    """Records that the restored data are in place."""
    told = {"number": restore.number, "token": restore.token, "sha256": restore.sha256, "from": restore.source}
    there = files.read_json(paths.RESTORED) or {}
    if there.get("token") != restore.token:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        files.write(paths.RESTORED, json.dumps({**told, "at": now}, indent=2) + "\n", 0o600)


def _folder(name: str) -> Path:
    """The folder, in the directory of this process or in the home of the login."""
    login = os.environ.get("SUDO_USER", "root")
    try:
        home = Path(pwd.getpwnam(login).pw_dir)
    except KeyError:
        home = Path()
    return next((place / name for place in (Path(), home) if (place / name).is_dir()), home / name)


def _place(spec: Spec) -> Path:
    """Where restored data wait: on the file system of the data."""
    real = Path(os.path.realpath(spec.data_directory))
    if directory.mount_of(real) == str(real):
        return real / identity.RESTORED
    return real.with_name(f"{real.name}{identity.RESTORED}")


def _marked(place: Path) -> Mark:
    if not wal.exists(str(place)):
        return Mark()
    text = (files.read_bytes(place / "member" / _MARK) or b"").decode(errors="replace")
    return Mark(*text.split("\n")[:3])


def _check(snapshot: Path, restore: Restore) -> None:
    phase("verify the snapshot")
    digest = hashlib.sha256()
    try:
        with snapshot.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except FileNotFoundError:
        raise NodeError(f"the snapshot {snapshot} is not on this machine; nothing was changed", "Run again.") from None
    if digest.hexdigest() != restore.sha256:
        raise NodeError(
            f"the snapshot has the SHA-256 {digest.hexdigest()}, and this restore began with {restore.sha256}; nothing "
            "was changed",
            "If the file was exchanged, bring the first one back, or raise the number of the restore to begin anew.",
        )


def _verify(spec: Spec, snapshot: Path, seconds: float) -> None:
    """Lets etcdutl read every page."""
    program = release.directory(spec.release.version) / "etcdutl"
    run(["nice", "-n", "19", str(program), "snapshot", "status", str(snapshot), "--write-out=json"], seconds)


def _restore(spec: Spec, restore: Restore, snapshot: Path, place: Path, seconds: float) -> None:
    phase("restore the snapshot beside the data")
    if place.exists():
        files.remove_tree(place)
    cluster = ",".join(f"{name}={spec.peer_url(address)}" for name, address in spec.members.items())
    words = [
        str(release.directory(spec.release.version) / "etcdutl"),
        *("snapshot", "restore", str(snapshot)),
        f"--data-dir={place}",
        f"--name={spec.member}",
        f"--initial-cluster={cluster}",
        f"--initial-cluster-token={restore.token}",
        f"--initial-advertise-peer-urls={spec.peer_url(spec.address)}",
        f"--bump-revision={BUMP * restore.number}",
        "--mark-compacted",
    ]
    run(["nice", "-n", "19", *words], seconds)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
