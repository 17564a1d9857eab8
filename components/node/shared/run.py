"""Running other programs, always with a time limit."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import NodeError

# Nothing of the caller's environment: an ETCDCTL_* or a locale there must not change what these programs do.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}


def run(
    argv: Sequence[str],
    timeout: float,
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    typed: str = "",
) -> subprocess.CompletedProcess[str]:
    """Runs a program and returns its result.

    Args:
        check: fail when it ends with another code than 0.
        env: further environment variables.
        stdin: what it reads from its standard input.
        typed: a line for a program that reads a password from its terminal. Its standard input is a terminal then.

    Raises:
        NodeError: it does not exist, took too long, or (with `check`) failed.
    """
    name = os.path.basename(argv[0])  # noqa: PTH119  a word of a command line
    try:
        with _input(stdin, typed) as given:
            done = subprocess.run(
                list(argv),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                env={**ENVIRONMENT, **(env or {})},
                **given,
            )
    except FileNotFoundError:
        raise NodeError(
            f"the program {argv[0]!r} does not exist on this machine", "Install it, then run again."
        ) from None
    except subprocess.TimeoutExpired:
        words = " ".join(argv[:3])
        raise NodeError(
            f"`{words}` did not end within {timeout:.0f} s", "See `journalctl -b` on the machine, then run again."
        ) from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or "it said nothing"
        raise NodeError(
            f"{name} {argv[1] if len(argv) > 1 else ''} failed ({done.returncode}): {said}",
            "Remove the cause, then run again.",
        )
    return done


@contextlib.contextmanager
def _input(text: str, typed: str) -> Iterator[dict[str, Any]]:
    if not typed:
        yield {"input": text}
        return
    keyboard, terminal = os.openpty()
    try:
        # Nobody reads what the terminal echoes.
        os.write(keyboard, f"{typed}\n".encode())
        yield {"stdin": terminal}
    finally:
        os.close(keyboard)
        os.close(terminal)
