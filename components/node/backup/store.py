"""The destination: an S3-compatible store, a directory, or one on another machine, by rclone.

Credentials are in rclone's own configuration, a file of root; no command line has them.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

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
_READ_NO_FURTHER = (-signal.SIGPIPE, 128 + signal.SIGPIPE)
_LATE = 124
"""Exit code of `timeout`."""
_END_SECONDS = 10.0
# Part of rclone's error -> what to do; first of another machine's.
_SSH_REMEDIES = (
    (
        r"host key mismatch|no key is pinned|no common algorithm for host key",
        "Another machine answers there, or it has a new host key. Compare it on that machine, correct "
        "`backup.ssh.hostKey`, and run `pulumi up`.",
    ),
    (
        r"unable to authenticate|private key|permission denied",
        "Correct `backup.ssh.user` and `backup.ssh.privateKey` (which has no passphrase) and run `pulumi up`, or allow "
        "this login there (`authorized_keys`, and the rights of the directory).",
    ),
    (
        r"SSH_FX_FAILURE",
        "That machine gives no reason; mostly its disk is full. Look there (`df -h`).",
    ),
)
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
        "The store cannot be reached: check `backup.s3.endpoint` or `backup.ssh`, and that this machine can reach it.",
    ),
)


def configuration(backup: Backup, credentials: Mapping[str, str]) -> str:
    """Text of rclone's configuration; empty credentials: those of the environment, such as the instance's profile."""
    settings = {"type": "local"}
    if backup.ssh is not None:
        # Without a shell: not every server has one, and what it says about a file is not asked.
        settings = {"type": "sftp", "shell_type": "none", **backup.ssh, **credentials}
        del settings["directory"]
    elif backup.s3 is not None:
        settings = {"type": "s3", "provider": "Other" if backup.s3["endpoint"] else "AWS", **backup.s3, **credentials}
        for part in ("bucket", "prefix"):
            del settings[part]
        settings |= {} if credentials else {"env_auth": "true"}
        # To lock a file that it sends in one piece, rclone reads all of it into memory.
        settings |= {"upload_cutoff": "16M"} if backup.s3["object_lock_mode"] else {}
    lines = [f"{key} = {_one_line(value)}" for key, value in settings.items() if value]
    return "\n".join([f"[{_NAME}]", *lines, ""])


def _one_line(value: str) -> str:
    """The value as rclone expects it in its configuration."""
    # A private key has lines.
    line = value.strip().replace("\r", "").replace("\n", "\\n")
    # rclone takes such quotes off, up to the last one of the line.
    return f"`{line}`" if line.startswith(("`", '"""')) else line


def refuse_here(backup: Backup, data_directory: str) -> None:
    """Refuses a directory that would be lost together with the data, such as a share that is not mounted.

    Raises:
        NodeError: there is no such directory, or it is on the file system of the data.
    """
    if not backup.directory:
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
    _refuse_missing(backup)
    seconds = _SECONDS + file.stat().st_size / _SLOWEST
    more_time(2 * seconds)
    _rclone(backup, "store", ["copyto", str(file), f"{_NAME}:{backup.path}/{file.name}"], seconds)
    size, found = _read(backup, file.name, seconds)
    if (size, found) != (file.stat().st_size, digest):
        with contextlib.suppress(NodeError):
            delete(backup, file.name)
        raise NodeError(
            f"{backup} does not hold what was stored there: {file.name} has {size} bytes with SHA-256 {found[:16]}..., "
            f"and {file.stat().st_size} bytes with {digest[:16]}... were sent",
            "Do not rely on this destination before you know the cause. The file was deleted there, if the credentials "
            "allow it.",
        )


@contextlib.contextmanager
def opened(backup: Backup, name: str) -> Iterator[IO[bytes]]:
    """The content of a file there. If it cannot be read to its end, the error at the end of the block says so, in place
    of one that the missing rest has caused.

    Raises:
        NodeError: it is not there, or cannot be read.
    """
    done = _rclone(
        backup, "list", ["lsf", "--files-only", "--format=sp", f"{_NAME}:{backup.path}/{name}"], _SECONDS, _EMPTY
    )
    size, _, found = done.stdout.strip().partition(";")
    if found != name:
        raise NodeError(
            f"there is no {name} in {backup}",
            "Look what is there: `keep` or a rule of the store may have deleted it, or `backup` names another place.",
        )
    seconds = _SECONDS + int(size) / _SLOWEST
    more_time(seconds)
    with _opened(backup, name, seconds) as content:
        yield content


def _refuse_missing(backup: Backup) -> None:
    """Refuses a directory on another machine that does not exist: rclone would create it, such as below a mount point
    where nothing is mounted."""
    if backup.ssh is None:
        return
    listing = ["lsf", "--files-only", f"{_NAME}:{backup.path}"]
    if _rclone(backup, "list", listing, _SECONDS, _EMPTY).returncode == _EMPTY:
        raise NodeError(
            f"there is no directory {backup.path} on {backup.ssh['host']}",
            "Create or mount it there, or correct `backup.ssh.directory`.",
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


def _read(backup: Backup, name: str, seconds: float) -> tuple[int, str]:
    """Size and SHA-256 of what the destination gives back; not what it says about it."""
    digest, size = hashlib.sha256(), 0
    with _opened(backup, name, seconds) as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


@contextlib.contextmanager
def _opened(backup: Backup, name: str, seconds: float) -> Iterator[IO[bytes]]:
    limited = ["timeout", f"{seconds:.0f}", *_words(backup, ["cat", f"{_NAME}:{backup.path}/{name}"])]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=said, env=ENVIRONMENT) as process,
    ):
        assert process.stdout is not None  # noqa: S101  asked for
        failed = None
        try:
            yield process.stdout
        except BaseException as error:
            if type(error) is not NodeError:
                process.terminate()
                raise
            failed = error
        process.stdout.close()
        try:
            code = process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            code = process.wait()
        # A block that has failed for its own reasons reads no further.
        if code not in (0, *_READ_NO_FURTHER):
            said.seek(0)
            what = f"it did not end within {seconds:.0f} s" if code == _LATE else said.read().decode(errors="replace")
            raise _failure(backup, "read", what) from None
        if failed is not None:
            raise failed


def _failure(backup: Backup, what: str, said: str) -> NodeError:
    lines = [re.sub(r"^[\d/]+ [\d:]+ (\w+ *: )?", "", line) for line in said.splitlines() if line.strip()]
    # Numbers for the store's support, which would hide the rest.
    text = re.sub(r"RequestID: [^,]*, HostID: [^,]*, ", "", lines[-1] if lines else "it said nothing")[:400]
    remedies = (*_SSH_REMEDIES, *_REMEDIES) if backup.ssh is not None else _REMEDIES
    remedy = next((each for pattern, each in remedies if re.search(pattern, said, re.IGNORECASE)), "")
    return NodeError(
        f"rclone could not {what} in {backup}: {text}",
        remedy or "See `journalctl -u etcd-snapshot` on the machine.",
    )
