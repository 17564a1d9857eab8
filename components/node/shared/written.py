"""What this program has written on the machine, so that changes by others are found.

Every file, link and directory goes through `files`, which notes it here; the command line saves the notes when its verb
has ended. What this program changes all the time is left out: its own state, releases, everything below /run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import hashlib
import json
import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import paths

_ALWAYS = (paths.BACKUP_STORE, paths.POD)
"""In this program's state, and nevertheless part of what was installed."""
_NEVER = (paths.STATE, paths.RELEASES, Path("/run"))

_MISSING = "is missing"

_noted: dict[str, dict[str, Any] | None] = {}


def note_file(path: Path, data: bytes, mode: int, uid: int, gid: int) -> None:
    """Notes a file with its content and rights."""
    _note(path, {"sha256": hashlib.sha256(data).hexdigest(), "mode": mode, "owner": [uid, gid]})


def note_link(path: Path, target: Path) -> None:
    """Notes a symbolic link."""
    _note(path, {"target": str(target)})


def note_directory(path: Path, mode: int, uid: int, gid: int) -> None:
    """Notes a directory with its rights."""
    _note(path, {"mode": mode, "owner": [uid, gid]})


def forget(path: Path) -> None:
    """Notes that the path and all below it are none of this program's any more."""
    for below in [each for each in _noted if each.startswith(f"{path}/")]:
        del _noted[below]
    _noted[str(path)] = None


def _note(path: Path, entry: dict[str, Any]) -> None:
    if path in _ALWAYS or not any(place == path or place in path.parents for place in _NEVER):
        _noted[str(path)] = entry


def save() -> None:
    """Adds this process's notes to the record. Without a record's directory (`retire` has removed it) there is none."""
    if not _noted or not paths.STATE.is_dir():
        return
    with contextlib.suppress(OSError), _alone():
        before = load()
        gone = tuple(f"{path}/" for path, entry in _noted.items() if entry is None)
        kept = {path: entry for path, entry in before.items() if not path.startswith(gone)}
        after = {path: entry for path, entry in {**kept, **_noted}.items() if entry is not None}
        if after != before:
            fresh = paths.WRITTEN.with_name(f".{paths.WRITTEN.name}.new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
                json.dump(after, file, indent=1, sort_keys=True)
            fresh.rename(paths.WRITTEN)
        _noted.clear()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two verbs may end at the same time: not all hold the machine's lock."""
    descriptor = os.open(paths.STATE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def load() -> dict[str, dict[str, Any]]:
    """The record: path -> what is there; empty if there is none, or it was damaged."""
    try:
        found = json.loads(paths.WRITTEN.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def changed() -> dict[str, str]:
    """Path -> how it differs from the record; empty if all is as this program has left it."""
    found = {path: _change(Path(path), entry) for path, entry in load().items()}
    return {path: said for path, said in sorted(found.items()) if said}


def forget_missing() -> None:
    """Forgets what is not there any more, at the end of `prepare`: what is still needed, `converge` writes and notes.

    Otherwise the place to which the data directory was a link until they were moved would stay missing for ever, and so
    would what a run has removed that was killed before it could save that.
    """
    for path, said in changed().items():
        if said == _MISSING:
            forget(Path(path))


def _change(path: Path, entry: Mapping[str, Any]) -> str:
    try:
        if "target" in entry:
            there = str(path.readlink())
            return "" if there == entry["target"] else f"leads to {there}, not to {entry['target']}"
        # A directory may be a link: this program has followed it.
        now = path.stat()
        if "sha256" in entry and (
            not stat.S_ISREG(now.st_mode) or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]
        ):
            return "has other content"
        return _rights(entry, now)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except OSError as error:
        # EINVAL: a link is none any more.
        return "is no link any more" if error.errno == errno.EINVAL else f"cannot be read ({error.strerror})"


def _rights(entry: Mapping[str, Any], now: os.stat_result) -> str:
    mode, said = stat.S_IMODE(now.st_mode), []
    if mode != entry["mode"]:
        said.append(f"mode {mode:04o}, not {entry['mode']:04o}")
    if [now.st_uid, now.st_gid] != entry["owner"]:
        said.append(f"owner {_names(now.st_uid, now.st_gid)}, not {_names(*entry['owner'])}")
    return f"has {' and '.join(said)}" if said else ""


def _names(uid: int, gid: int) -> str:
    user, group = str(uid), str(gid)
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(uid).pw_name
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(gid).gr_name
    return f"{user}:{group}"
