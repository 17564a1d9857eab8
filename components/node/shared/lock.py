"""One verb at a time on a machine."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from . import paths
from .errors import NodeError
from .limits import LOCK_SECONDS
from .say import say, until


@contextlib.contextmanager
def held(verb: str, wait: float = LOCK_SECONDS) -> Iterator[None]:
    """Holds the machine's lock for the block. The kernel frees it when its process ends, however that ends.

    Args:
        verb: what the lock is for, shown to waiting verbs.
        wait: how long to wait for another holder, in seconds.

    Raises:
        NodeError: another process still holds it after `wait`; the message says who.
    """
    descriptor = _acquire(wait)
    try:
        holder = {"pid": os.getpid(), "verb": verb, "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def holder() -> str:
    """Who holds the lock now, for a person; empty if nobody does."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(paths.LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            # A process that was killed has left its entry.
            found = _entry(descriptor)
            return _holder(descriptor) if found and Path(f"/proc/{found['pid']}").exists() else ""
        finally:
            os.close(descriptor)
    return ""


def _acquire(wait: float) -> int:
    told = False
    for _ in until(wait, every=0.2):
        descriptor = os.open(paths.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            if not told:
                say(f"waits up to {wait:.0f} s for {holder}")
                told = True
            continue
        # `retire` removes the file while it holds it: a lock on a removed file guards nothing.
        if _is_current(descriptor):
            return descriptor
        os.close(descriptor)
    raise NodeError(
        f"this machine is still busy after {wait:.0f} s with {holder}",
        "Wait until it has ended, then run again; if it hangs, end that process on the machine.",
    )


def _is_current(descriptor: int) -> bool:
    try:
        return os.path.samestat(paths.LOCK.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    found = _entry(descriptor)
    return f"`etcd-node {found['verb']}` (pid {found['pid']}, since {found['since']})" if found else "another etcd-node"


def _entry(descriptor: int) -> dict[str, object]:
    """What the lock's holder has written; empty if that is not known."""
    try:
        found = json.loads(os.pread(descriptor, 1000, 0))
        return {key: found[key] for key in ("verb", "pid", "since")}
    except (ValueError, KeyError, TypeError):
        return {}
