"""Files and directories: written atomically, with owner and mode, moved aside and never deleted when they are data."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from . import written
from .errors import NodeError


def write(path: Path, data: bytes | str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> bool:
    """Makes `path` hold `data` with that mode and owner; readers see the old or the new file, also after a power cut.

    Returns:
        Whether the content changed.
    """
    return bool(write_together({path: data}, {path: (mode, uid, gid)}))


def write_together(contents: Mapping[Path, bytes | str], rights: Mapping[Path, tuple[int, int, int]]) -> list[Path]:
    """Like `write` for files that belong together: all are on the disk before the first is renamed into place.

    Args:
        contents: path -> content.
        rights: path -> (mode, uid, gid).

    Returns:
        The paths whose content changed.
    """
    waiting: list[tuple[Path, Path]] = []
    notes: list[tuple[Path, bytes, int, int, int]] = []
    try:
        for path, content in contents.items():
            mode, uid, gid = rights[path]
            data = content.encode() if isinstance(content, str) else content
            notes.append((path, data, mode, uid, gid))
            if read_bytes(path) == data:
                _repair_rights(path, mode, uid, gid)
                continue
            temporary = unfinished(path)
            waiting.append((temporary, path))
            with create(temporary) as file:
                file.write(data)
                file.flush()
                os.fchown(file.fileno(), uid, gid)
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
        changed = [path for _, path in waiting]
        for temporary, path in waiting:
            temporary.rename(path)
        waiting = []
    finally:
        for temporary, _ in waiting:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
    for directory in {path.parent for path in changed}:
        sync_directory(directory)
    for note in notes:
        written.note_file(*note)
    return changed


def unfinished(path: Path) -> Path:
    """Where the new content of a file waits; a killed write leaves it."""
    return path.with_name(f".{path.name}.new")


def create(path: Path) -> BinaryIO:
    """Opens a new file that only root can read, in the place of what is there; never what a link there points to."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")


def rights(path: Path, mode: int = 0o644) -> tuple[int, int, int]:
    """Mode, owner and group of a file; `mode` and root when there is no such file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return mode, 0, 0
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def _repair_rights(path: Path, mode: int, uid: int, gid: int) -> None:
    now = path.stat()
    if (now.st_uid, now.st_gid) != (uid, gid):
        os.chown(path, uid, gid)
    if stat.S_IMODE(now.st_mode) != mode:
        path.chmod(mode)


def sync_directory(path: Path) -> None:
    """Makes renames in the directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path) -> bytes | None:
    """The content, None when there is no such file."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in the file, None when there is no such file.

    Raises:
        NodeError: the file holds something else.
    """
    data = read_bytes(path)
    if data is None:
        return None
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise NodeError(
            f"{path} does not hold a JSON object",
            "Repair it by comparison with the same file on another member: it records what etcd-node owns on this "
            "machine.",
        )
    return value


def missing_directories(path: Path) -> list[Path]:
    """Directories that must be created for `path`, outermost first."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    return missing[::-1]


def directory(path: Path, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
    """Makes the directory, and those above it (0755 root), and gives it that mode and owner.

    Raises:
        NodeError: something else has that name.
    """
    if path.exists() and not path.is_dir():
        raise NodeError(f"{path} is not a directory", "Move it away, then run again.")
    for each in missing_directories(path):
        each.mkdir(mode=0o700 if each == path else 0o755)
        if each != path:
            each.chmod(0o755)
    _repair_rights(path, mode, uid, gid)
    written.note_directory(path, mode, uid, gid)


def symlink(path: Path, target: Path) -> bool:
    """Makes `path` a symbolic link to `target`, atomically; an existing link is replaced.

    Returns:
        Whether it changed.
    """
    written.note_link(path, target)
    if path.is_symlink() and path.readlink() == target:
        return False
    temporary = unfinished(path)
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(target)
    temporary.rename(path)
    sync_directory(path.parent)
    return True


def remove(path: Path) -> None:
    """Removes a file or link if it exists."""
    written.forget(path)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()


def remove_tree(path: Path) -> None:
    """Removes a directory and all in it if it exists; never for data."""
    written.forget(path)
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def remove_empty(paths: Sequence[Path]) -> None:
    """Removes those of the directories that are empty, innermost first."""
    for path in sorted(paths, key=lambda each: len(each.parts), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir()
            written.forget(path)
