"""A snapshot as it leaves the machine: verified, compressed by gzip, encrypted by age for its recipients alone.

No machine has their private keys, so one that is broken into cannot read what it or another one has stored, except the
newest snapshot with the drill key (see `drill_key`). gzip and not
zstd, because Python and every rescue system have it; its lowest level, because etcd needs the CPU.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data import snapshot
from ..protocol import etcd
from ..shared import files
from ..shared.backup import Backup
from ..shared.errors import NodeError
from ..shared.run import ENVIRONMENT, run
from ..shared.say import more_time, phase, say
from ..shared.spec import Spec
from . import programs
from .retention import SUFFIX, Name

_CHUNK = 1 << 20
_DIGEST = 32
_LEVEL = 1
_GZIP = 31
_SPARE = 256 << 20
_SLOWEST = 2 << 20
"""Bytes per second."""


@dataclass(frozen=True)
class Archive:
    """An encrypted snapshot on this machine."""

    path: Path
    digest: str
    """SHA-256 of the file, hexadecimal."""
    content: snapshot.Content
    size: int
    """Bytes of the snapshot before it was compressed."""


def directory(data_directory: str) -> Path:
    """Where it waits for its way out, beside the snapshots before version changes."""
    return snapshot.directory(data_directory) / "backup"


def waiting(data_directory: str) -> list[Path]:
    """Those that have not been stored: at most one, the newest."""
    return sorted(directory(data_directory).glob(f"*{SUFFIX}"))


def discard_unfinished(data_directory: str) -> None:
    """Removes what an attempt that was killed has left, which is not encrypted."""
    for left_over in directory(data_directory).glob(".*"):
        left_over.unlink()


def refuse_recipients(backup: Backup) -> None:
    """Encrypts a word for the recipients.

    Raises:
        NodeError: age does not accept one of them.
    """
    said = run([str(programs.path(backup, "age")), *_flags(backup), "-o", "/dev/null"], 20, check=False, stdin="word")
    if said.returncode != 0:
        raise NodeError(
            f"age refuses the recipients of snapshots: {said.stderr.strip()[:300]}",
            "Correct `backup.recipients`: they are the public keys that age-keygen prints.",
        )


def create(spec: Spec, running: str, status: etcd.Status, now: datetime.datetime, also: Sequence[str] = ()) -> Archive:
    """Takes a snapshot from this machine's member, and leaves only the encrypted file of it.

    An earlier file that could not be stored is removed when this one is complete.

    Args:
        running: the version of etcd that runs.
        status: the member's.
        now: for the name, UTC.
        also: further recipients, such as the drill key.

    Raises:
        NodeError: there is no room, the member gives no snapshot, or it is damaged.
    """
    assert spec.backup is not None  # noqa: S101  the verb has seen to it
    phase("take a snapshot")
    place = directory(spec.data_directory)
    files.directory(place.parent, 0o700)
    files.directory(place, 0o700)
    plain, unfinished = place / ".snapshot.db", place / ".unfinished"
    # etcdctl saves into a file beside it first.
    discard_unfinished(spec.data_directory)
    free, needed = shutil.disk_usage(place).free, 2 * status.db_size + _SPARE
    if free < needed:
        raise NodeError(
            f"the file system of {place} has {free >> 20} MiB free; a snapshot needs {needed >> 20} MiB while it is "
            "compressed and encrypted",
            "Make room there.",
        )
    try:
        content = snapshot.save(spec, running, spec.address, status, plain)
        more_time(60 + status.db_size / _SLOWEST)
        phase("compress and encrypt the snapshot")
        size = plain.stat().st_size
        digest = _encrypt(spec.backup, also, plain, unfinished)
    except BaseException:
        files.remove(unfinished)
        raise
    finally:
        files.remove(plain)
    path = place / str(Name(spec.cluster, now, content.revision))
    unfinished.chmod(0o600)
    unfinished.rename(path)
    files.sync_directory(place)
    for old in waiting(spec.data_directory):
        if old != path:
            old.unlink()
    say(f"snapshot taken and verified: {content}; {path.stat().st_size} bytes encrypted")
    return Archive(path, digest, content, size)


def _flags(backup: Backup, also: Sequence[str] = ()) -> list[str]:
    return ["--encrypt", *(word for each in (*backup.recipients, *also) for word in ("--recipient", each))]


def _encrypt(backup: Backup, also: Sequence[str], plain: Path, target: Path) -> str:
    """Compresses and encrypts the snapshot; returns the SHA-256 of the result.

    What goes into it is hashed once more and compared with the snapshot's own digest: the disk may have given other
    bytes to `etcdutl`.
    """
    size, own, kept = plain.stat().st_size, b"", b"nothing was compared"
    # Outside the pipe: age writes its errors there.
    with tempfile.TemporaryFile() as said:
        argv = [str(programs.path(backup, "age")), *_flags(backup, also), "-o", str(target)]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=said, env=ENVIRONMENT)
        assert process.stdin is not None  # noqa: S101  asked for
        try:
            # If age ends early, its exit code says so.
            with contextlib.suppress(BrokenPipeError), process.stdin:
                own, kept = _compress(plain, size, process.stdin.write)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        if process.returncode != 0:
            said.seek(0)
            raise NodeError(
                f"age could not encrypt the snapshot: {said.read().decode(errors='replace').strip()[-300:]}",
                "See `journalctl -u etcd-snapshot` on the machine.",
            )
    if own != kept:
        raise NodeError(f"{plain} changed while it was compressed", "Check the disk (`dmesg`).")
    digest = hashlib.sha256()
    with target.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        os.fsync(file.fileno())
    return digest.hexdigest()


def _compress(plain: Path, size: int, write: Callable[[bytes], object]) -> tuple[bytes, bytes]:
    """Writes the file compressed; returns the SHA-256 of all but its end, and that end, which should be the same."""
    packer, digest, left, end = zlib.compressobj(_LEVEL, wbits=_GZIP), hashlib.sha256(), size - _DIGEST, b""
    with plain.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk[: max(left, 0)])
            end, left = (end + chunk)[-_DIGEST:], left - len(chunk)
            write(packer.compress(chunk))
    write(packer.flush())
    return digest.digest(), end
