"""The ssh agent of whoever runs Pulumi.

pulumi-command dials what `SSH_AUTH_SOCK` names on every connection, also where it was given a key, and fails if nobody
answers there. It reads the variable itself: as an input, one operator's socket would run another's commands again.
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
# Of ssh's agent protocol: its length, and the message that asks for the public keys; the answer's type.
_ASK, _KEYS = b"\0\0\0\1\x0b", 12


class AgentError(pulumi.RunError):
    """The ssh agent cannot be used. Pulumi prints it without a stack trace."""


def ready(*, needed: bool) -> None:
    """Sees to the ssh agent before machines are reached.

    A preview reaches none. It warns if an update from this computer would fail: reviewers need no keys.

    Args:
        needed: the keys are in the agent. Else it has only to be out of the way: where nobody answers at the socket,
            one that knows no key does so while the program runs.

    Raises:
        AgentError: a key is needed and there is none, or the variable names something that cannot be made to answer.
    """
    if not hasattr(socket, "AF_UNIX"):
        return
    path = os.environ.get(_VARIABLE, "")
    if needed and (cause := _no_keys(path)):
        problem = (
            f"The configuration expects the ssh keys in an agent, and {cause}. Start one and load the key "
            "(`ssh-agent`, `ssh-add`), or give the key as privateKeyFile."
        )
        if not pulumi.runtime.is_dry_run():
            raise AgentError(problem)
        _warn_once(f"`pulumi up` would fail on this computer. {problem}")
    if path and not needed and not pulumi.runtime.is_dry_run() and (cause := _dead(path)):
        try:
            _answer(Path(path))
        except OSError as error:
            raise AgentError(
                f"{_VARIABLE} names {path}, where no ssh agent answers ({cause}, and none can be put there: "
                f"{error.strerror}). pulumi-command would fail there although it has a key. Run without it: "
                f"env -u {_VARIABLE} pulumi up"
            ) from None


@functools.cache
def _warn_once(text: str) -> None:
    pulumi.log.warn(text)


def _dead(path: str) -> str | None:
    """Why nobody answers at this socket; None when somebody does."""
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(_SECONDS)
            agent.connect(path)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _no_keys(path: str) -> str | None:
    """Why no key can be had from the agent; None when it has one."""
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
        return f"nobody answers at {path} ({(error.strerror or str(error)).lower()})"
    if len(answer) < 9 or answer[4] != _KEYS or not int.from_bytes(answer[5:9], "big"):
        return f"the one at {path} holds none"
    return None


def _answer(path: Path) -> None:
    """Listens at the socket until the program ends. Nobody asks there: pulumi-command tries the key that it has first,
    and no other one after it."""
    missing = [place for place in path.parents if not place.exists()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_socket():
        # Left by an agent that has ended.
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
