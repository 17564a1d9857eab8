"""A stored snapshot comes back: read from the store, decrypted, decompressed, and verified, in one pass.

The private key exists in the memory of this process and of age, which reads it from a pipe: on no disk, and in no
command line.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..shared import files
from ..shared.backup import Backup, is_identity
from ..shared.errors import NodeError
from ..shared.run import ENVIRONMENT
from ..shared.say import phase, say, size
from . import programs, store

_CHUNK = 1 << 20
_DIGEST = 32
_GZIP = 31
_SPARE = 256 << 20
_OTHER_KEY = "no identity matched"


@dataclass(frozen=True)
class Retrieved:
    """A whole snapshot, as `etcdctl snapshot save` has written it."""

    sha256: str
    """Of the file, hexadecimal."""
    size: int
    """Bytes of the file."""


def retrieve(backup: Backup, name: str, identity: str, target: Path, *, spare: int = _SPARE) -> Retrieved:
    """Retrieves a snapshot from the store into the file `target`, mode 0600; an earlier one is replaced.

    Programs and credentials must be on the machine (`programs.ensure`, `store.configuration`).

    Args:
        name: in the destination.
        identity: private key of age, as `age-keygen` writes it; several lines are possible.
        spare: bytes that must stay free on the file system of `target`.

    Raises:
        NodeError: it is not there, cannot be read, is encrypted for other keys, or is damaged, or there is no room:
            each with its own remedy. `target` does not exist then.
    """
    refuse_identity(identity)
    files.remove(target)
    phase(f"retrieve {name} from {backup}")
    try:
        with (
            store.opened(backup, name) as stream,
            _decrypted(backup, name, identity, stream) as content,
            _created(target) as file,
        ):
            found = _unpack(name, content, file, target.parent, spare)
    except BaseException:
        files.remove(target)
        raise
    say(f"{name} is retrieved from {backup}, decrypted and verified: {size(found.size)}")
    return found


def refuse_identity(identity: str) -> None:
    """Refuses a text that is not a private key of age; no message has any of it.

    Raises:
        NodeError: it is none.
    """
    if not is_identity(identity):
        raise NodeError(
            "the private key (not shown) is none of age",
            "Give the whole text of the file that age-keygen has written. If it has a passphrase, decrypt it first.",
        )


@contextlib.contextmanager
def _decrypted(backup: Backup, name: str, identity: str, stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """The decrypted content of the stream; an error at the end of the block if age has not decrypted all of it."""
    given, giving = os.pipe()
    try:
        with open(giving, "wb") as key:  # noqa: PTH123  a descriptor
            key.write(identity.encode())
        argv = [str(programs.path(backup, "age")), "--decrypt", "--identity", f"/dev/fd/{given}"]
        process = subprocess.Popen(
            argv,
            stdin=stream,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            pass_fds=[given],
        )
    finally:
        os.close(given)
    # Only age reads it now, so the store notices when age ends.
    stream.close()
    assert process.stdout is not None and process.stderr is not None  # noqa: S101  asked for
    failed = None
    with process:
        try:
            yield process.stdout
        except BaseException as error:
            process.kill()
            if type(error) is not NodeError:
                raise
            failed = error
        process.stdout.close()
        said = process.stderr.read().decode(errors="replace").partition("\n")[0].replace("age: error: ", "")
        code = process.wait()
    if _OTHER_KEY in said:
        raise NodeError(
            f"{name} does not decrypt with this private key: it was encrypted for others, or its beginning is damaged",
            "Give the private key of one of the `recipients` that were configured when it was taken.",
        )
    if said:
        # An error of the block is then only the consequence.
        raise _damaged(name, f"age says: {said[:300]}")
    if failed is not None:
        raise failed
    if code != 0:
        raise _damaged(name, f"age ended with {code}")


@contextlib.contextmanager
def _created(target: Path) -> Iterator[IO[bytes]]:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file


def _unpack(name: str, content: IO[bytes], file: IO[bytes], place: Path, spare: int) -> Retrieved:
    """Decompresses the content into the file, and compares it with the SHA-256 at its end."""
    unpacker, digest = zlib.decompressobj(_GZIP), hashlib.sha256()
    end, more, count = b"", b"", 0
    try:
        while not unpacker.eof and (more or (more := content.read(_CHUNK))):
            chunk = unpacker.decompress(more, _CHUNK)
            more = unpacker.unconsumed_tail
            if shutil.disk_usage(place).free < spare + len(chunk):
                raise NodeError(
                    f"there is no room for {name}: {size(count)} are decompressed, and {size(spare)} must stay free",
                    f"Make room on the file system of {place}, then run again.",
                )
            file.write(chunk)
            count += len(chunk)
            both = end + chunk
            digest.update(both[:-_DIGEST])
            end = both[-_DIGEST:]
    except zlib.error as error:
        raise _damaged(name, f"it cannot be decompressed ({error})") from None
    if not unpacker.eof or unpacker.unused_data or content.read(1):
        raise _damaged(name, "its compressed content does not end where it should")
    if digest.digest() != end:
        raise _damaged(name, "the SHA-256 at its end does not match its content")
    whole = digest.copy()
    whole.update(end)
    return Retrieved(whole.hexdigest(), count)


def _damaged(name: str, why: str) -> NodeError:
    return NodeError(
        f"{name} is damaged or not complete: {why}",
        "Use another snapshot. If others are damaged, too, do not rely on this destination before you know the cause.",
    )
