"""Running other programs, always with a time limit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

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
) -> subprocess.CompletedProcess[str]:
    """Runs a program and returns its result.

    Args:
        check: fail when it ends with another code than 0.
        env: further environment variables.

    Raises:
        NodeError: it does not exist, took too long, or (with `check`) failed.
    """
    name = os.path.basename(argv[0])  # noqa: PTH119  a word of a command line
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={**ENVIRONMENT, **(env or {})},
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
