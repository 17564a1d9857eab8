"""The destination: an S3-compatible store or a directory, by rclone.

Credentials are in rclone's own configuration, a file of root; no command line has them.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..shared import paths
from ..shared.backup import Backup
from ..shared.errors import NodeError
from ..shared.run import ENVIRONMENT, run
from ..shared.say import more_time
from . import programs

_NAME = "store"
_OPTIONS = ("--retries=1", "--low-level-retries=3", "--contimeout=10s", "--timeout=60s", "--s3-no-check-bucket")
_SECONDS = 120.0
_SLOWEST = 256 << 10
"""Bytes per second: less counts as unreachable."""
_CHUNK = 1 << 20
_EMPTY = 3
"""Exit code of rclone: there is no such directory, which in S3 is one without files."""
# Part of rclone's error -> what to do.
_REMEDIES = (
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|Forbidden|\b40[13]\b|NoCredential|no EC2 IMDS|"
        r"ExpiredToken|InvalidToken",
        "The store refuses the credentials, or they may not do this: correct `backup.s3` (or the instance's profile) "
        "and run `pulumi up`.",
    ),
    (r"NoSuchBucket|\b404\b", "Create the bucket, or correct `backup.s3.bucket`, and run `pulumi up`."),
    (
        r"no space left|disk space|quota|StorageFull|InsufficientStorage|\b507\b",
        "The destination is full: make room there, or keep fewer snapshots (`backup.keep`).",
    ),
    (
        r"no such host|refused|timeout|deadline|unreachable|no route|connection reset|EOF|dial ",
        "The store cannot be reached: check `backup.s3.endpoint`, and that this machine has a way there.",
    ),
)


def configuration(backup: Backup, credentials: Mapping[str, str]) -> str:
    """Text of rclone's configuration; empty credentials: those of the environment, such as the instance's profile."""
    lines = [f"[{_NAME}]"]
    if backup.s3 is None:
        lines += ["type = local"]
    else:
        lines += ["type = s3", f"provider = {'Other' if backup.s3['endpoint'] else 'AWS'}"]
        settings = {"endpoint": backup.s3["endpoint"], "region": backup.s3["region"], **credentials}
        lines += [f"{key} = {value}" for key, value in settings.items() if value]
        lines += [] if credentials else ["env_auth = true"]
    return "\n".join([*lines, ""])


def refuse_here(backup: Backup, data_directory: str) -> None:
    """Refuses a directory that would be lost together with the data, such as a share that is not mounted.

    Raises:
        NodeError: there is no such directory, or it is on the file system of the data.
    """
    if backup.s3 is not None:
        return
    place = Path(backup.directory)
    if not place.is_dir():
        raise NodeError(f"there is no directory {place} for snapshots", "Create or mount it, or correct `backup`.")
    if place.stat().st_dev == Path(data_directory).stat().st_dev:
        raise NodeError(
            f"the directory {place} for snapshots is on the file system of etcd's data, and would be lost with them",
            "Mount the share or disk there, or correct `backup.directory`.",
        )


def listed(backup: Backup) -> list[str]:
    """Names of all files in the destination.

    Raises:
        NodeError: it does not say.
    """
    done = _rclone(backup, "list", ["lsf", "--files-only", f"{_NAME}:{backup.path}"], _SECONDS, _EMPTY)
    return done.stdout.splitlines()


def put(backup: Backup, file: Path, digest: str) -> None:
    """Copies the file there under its name, and reads all of it back.

    Args:
        digest: SHA-256 of the file, hexadecimal.

    Raises:
        NodeError: it is not there, or differs from the file.
    """
    seconds = _SECONDS + file.stat().st_size / _SLOWEST
    more_time(2 * seconds)
    place = f"{_NAME}:{backup.path}/{file.name}"
    _rclone(backup, "store", ["copyto", str(file), place], seconds)
    size, found = _read(backup, place, seconds)
    if (size, found) != (file.stat().st_size, digest):
        with contextlib.suppress(NodeError):
            delete(backup, file.name)
        raise NodeError(
            f"{backup} does not hold what was stored there: {file.name} has {size} bytes with SHA-256 {found[:16]}..., "
            f"and {file.stat().st_size} bytes with {digest[:16]}... were sent",
            "Do not rely on this destination before you know the cause. The file was deleted there, if the credentials "
            "allow it.",
        )


def delete(backup: Backup, name: str) -> None:
    """Deletes a file there.

    Raises:
        NodeError: it cannot.
    """
    _rclone(backup, "delete", ["deletefile", f"{_NAME}:{backup.path}/{name}"], _SECONDS)


def _words(backup: Backup, words: list[str]) -> list[str]:
    return [str(programs.path(backup, "rclone")), *words, f"--config={paths.BACKUP_STORE}", *_OPTIONS]


def _rclone(
    backup: Backup, what: str, words: list[str], seconds: float, also: int = 0
) -> subprocess.CompletedProcess[str]:
    """Runs it; the exit codes 0 and `also` are good."""
    done = run(_words(backup, words), seconds, check=False)
    if done.returncode not in (0, also):
        raise _failure(backup, what, done.stderr)
    return done


def _read(backup: Backup, place: str, seconds: float) -> tuple[int, str]:
    """Size and SHA-256 of what the destination gives back; not what it says about it."""
    digest, size = hashlib.sha256(), 0
    limited = ["timeout", f"{seconds:.0f}", *_words(backup, ["cat", place])]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=said, env=ENVIRONMENT) as process,
    ):
        assert process.stdout is not None  # noqa: S101  asked for
        while chunk := process.stdout.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
        if process.wait() != 0:
            said.seek(0)
            raise _failure(backup, "read", said.read().decode(errors="replace"))
    return size, digest.hexdigest()


def _failure(backup: Backup, what: str, said: str) -> NodeError:
    lines = [re.sub(r"^[\d/]+ [\d:]+ (\w+ *: )?", "", line) for line in said.splitlines() if line.strip()]
    # Numbers for the store's support, which would hide the rest.
    text = re.sub(r"RequestID: [^,]*, HostID: [^,]*, ", "", lines[-1] if lines else "it said nothing")[:400]
    remedy = next((each for pattern, each in _REMEDIES if re.search(pattern, said, re.IGNORECASE)), "")
    return NodeError(
        f"rclone could not {what} in {backup}: {text}",
        remedy or "See `journalctl -u etcd-snapshot` on the machine.",
    )
