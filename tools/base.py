"""What all tools share: the cache, a lock, progress lines, other programs, and fallbacks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

REPOSITORY = Path(__file__).resolve().parent.parent
LOCK_WAIT = 3600.0  # seconds; the longest build of another clone must fit

_T = TypeVar("_T")


class ToolError(Exception):
    """A tool, or one way to get it, failed. The text is printed as it is."""


class UnreachableError(ToolError):
    """No answer from an address: usual without internet, so it is only mentioned briefly."""


def say(text: str) -> None:
    """Print one progress line to standard error; standard output is for the answer."""
    print(text, file=sys.stderr, flush=True)


def run(
    command: Sequence[str], limit: float, what: str = "", folder: Path | None = None, environ: Mapping[str, str] = {}
) -> str:
    """Run another program; returns its standard output.

    Args:
        limit: in seconds.
        what: what an error calls it, by default the whole command.
        folder: where it runs, by default here.
        environ: environment variables to add to those of this process.

    Raises:
        ToolError: it cannot be started, took longer, or failed. The error has the last lines of its output.
    """
    what = what or " ".join(command)
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except OSError as error:
        raise ToolError(f"{command[0]} does not run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{what} took more than {limit:.0f} s. Run this again; completed downloads are kept."
        ) from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise ToolError(f"{what} failed:\n{last}")
    return done.stdout


def cache() -> Path:
    """Return the folder for downloads and builds: $EXTERNAL_ETCD_CACHE, else the user's cache folder."""
    chosen = os.environ.get("EXTERNAL_ETCD_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen).resolve() if chosen else base / "external-etcd"


def architecture() -> str:
    """Return the machine's architecture in Go's terms: amd64 or arm64.

    Raises:
        ToolError: the machine is not supported.
    """
    machine = platform.machine()
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if platform.system() != "Linux" or machine not in names:
        raise ToolError(f"{platform.system()} on {machine} is not supported. Use Linux on x86_64 or arm64.")
    return names[machine]


@contextlib.contextmanager
def lock(name: str, wait: float = LOCK_WAIT) -> Iterator[None]:
    """Hold the cache's lock `name`, so that two clones do not do the same work; waits up to `wait` seconds.

    Raises:
        ToolError: another run held it all the time.
    """
    path = cache() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as held:
        deadline = time.monotonic() + wait
        told = False
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ToolError(
                        f"Another run has held {path} for {wait:.0f} s. Wait for it or end it, then run this again."
                    ) from None
                if not told:
                    say(f"waiting for another run that holds {path} ...")
                told = True
                time.sleep(0.1)
        yield


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a temporary folder inside the cache, so that results can be renamed into place."""
    parent = cache() / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def put_in_place(finished: Path, target: Path) -> None:
    """Rename the finished file or folder to `target`; an old one (damaged or partial) is removed first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    finished.replace(target)


def first_way(what: str, ways: Sequence[tuple[str, Callable[[], _T]]]) -> _T:
    """Try (name, function) in order; return the first result, and print which way worked and why the others failed.

    Raises:
        ToolError: no way worked; the text has every reason.
    """
    reasons: list[str] = []
    for name, run in ways:
        started = time.monotonic()
        try:
            result = run()
        except ToolError as error:
            if not isinstance(error, UnreachableError):
                say(f"{what}: not {name}: {error}")
            reasons.append(str(error))
            continue
        because = f" ({'; '.join(reasons)})" if reasons else ""
        say(f"{what}: {name}, {time.monotonic() - started:.0f} s{because}")
        return result
    raise ToolError(f"{what} is not available: {'; '.join(reasons)}")
