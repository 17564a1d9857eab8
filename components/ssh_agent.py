"""The ssh agent of the user who runs Pulumi.

pulumi-command dials the socket in `SSH_AUTH_SOCK` for every connection, even if it has a key, and fails if no agent
answers. It reads the variable itself: as an input, another operator's socket would rerun all commands.
"""

import atexit
import contextlib
import functools
import os
import socket
from pathlib import Path

import pulumi

_VARIABLE = "SSH_AUTH_SOCK"
_SECONDS = 5.0
# Agent protocol: the request for the public keys, with its length, and the type of the answer.
_ASK, _KEYS = b"\0\0\0\1\x0b", 12


class AgentError(pulumi.RunError):
    """The ssh agent cannot be used. Pulumi prints it without a stack trace."""


def ready(*, needed: bool) -> None:
    """Makes sure that pulumi-command can use the ssh agent.

    A preview connects to no machine, so it only warns if an update from this computer would fail. Reviewers need no
    keys.

    Args:
        needed: whether the keys are in the agent. If not, the agent only has to answer. If none does, the program
            itself listens at the socket.

    Raises:
        AgentError: a key is needed and there is none, or the program cannot listen at the socket.
    """
    if not hasattr(socket, "AF_UNIX"):
        return
    path = os.environ.get(_VARIABLE, "")
    if needed and (cause := _no_keys(path)):
        problem = (
            f"The configuration expects the ssh keys in an agent, but {cause}. Start one and load the key "
            "(`ssh-agent`, `ssh-add`), or set privateKeyFile."
        )
        if not pulumi.runtime.is_dry_run():
            raise AgentError(problem)
        _warn_once(f"`pulumi up` would fail on this computer. {problem}")
    if path and not needed and not pulumi.runtime.is_dry_run() and (cause := _dead(path)):
        try:
            _answer(Path(path))
        except OSError as error:
            raise AgentError(
                f"{_VARIABLE} names {path}, where no ssh agent answers ({cause}; and the program cannot listen there: "
                f"{error.strerror}). pulumi-command fails without an agent there, even if it has a key. Run it without "
                f"the variable: env -u {_VARIABLE} pulumi up"
            ) from None


@functools.cache
def _warn_once(text: str) -> None:
    pulumi.log.warn(text)


def _dead(path: str) -> str | None:
    """Why no agent answers at this socket; None if one does."""
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(_SECONDS)
            agent.connect(path)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _no_keys(path: str) -> str | None:
    """Why the agent provides no key; None if it has one."""
    if not path:
        return f"{_VARIABLE} names none"
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(_SECONDS)
            agent.connect(path)
            agent.sendall(_ASK)
            answer = b""
            while len(answer) < 9 and (more := agent.recv(9)):
                answer += more
    except OSError as error:
        return f"no agent answers at {path} ({(error.strerror or str(error)).lower()})"
    if len(answer) < 9 or answer[4] != _KEYS or not int.from_bytes(answer[5:9], "big"):
        return f"the one at {path} holds none"
    return None


def _answer(path: Path) -> None:
    """Listens at the socket until the program ends. It need not answer: pulumi-command uses its own key and then asks
    the agent for none."""
    missing = [place for place in path.parents if not place.exists()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_socket():
        # Left over from an agent that has ended.
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(4096)

    def leave() -> None:
        listener.close()
        with contextlib.suppress(OSError):
            path.unlink()
            for place in missing:
                place.rmdir()

    atexit.register(leave)
