"""One command on one machine over SSH. Imported when the first command runs: paramiko takes a while to load."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Mapping
from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from .dial import dial
from .server import ERROR, INFO, WARNING, Call, ProviderError

_NO_ACCEPT_ENV = (
    "Unable to set '%s'. This only works if your SSH server is configured to accept these variables via AcceptEnv. "
    "Alternatively, if a Bash-like shell runs the command on the remote host, you could prefix the command itself with "
    "the variables in the form 'VAR=value command'"
)


class _Lines:
    """Bytes as they arrive, handed on line by line."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._rest = b""

    def add(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._show(line.removesuffix(b"\r").decode(errors="replace"))

    def end(self) -> None:
        if self._rest:
            self.add(b"\n")


def _request(channel: Any, kind: str, *arguments: str) -> bool:
    """Send a request on `channel` and wait for its answer."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(True)
    for argument in arguments:
        message.add_string(argument)
    channel._event_pending()
    channel.transport._send_user_message(message)
    try:
        channel._wait_for_event()
    except paramiko.SSHException:
        return False
    return True


def run(
    call: Call,
    connection: Mapping[str, Any],
    command: str,
    *,
    stdin: str,
    environment: Mapping[str, str],
    previous: Mapping[str, str],
    show: tuple[bool, bool],
) -> tuple[str, str]:
    """Run `command` and wait for its end.

    Args:
        call: the operation it belongs to.
        connection: host, port, user and so on, without marks of secrecy.
        command: what the login shell there gets.
        stdin: what it reads; empty: nothing.
        environment: variables that must be accepted.
        previous: variables that may be refused, which is worth a warning.
        show: whether to show stdout and stderr as they come.

    Returns:
        stdout and stderr, each without its last newline.

    Raises:
        ProviderError: no connection, a refused variable, or a command that failed.
    """
    with contextlib.ExitStack() as opened:
        transport = dial(call, connection, opened)
        try:
            channel = transport.open_session(timeout=60)
            for name, value in environment.items():
                if not _request(channel, "env", name, value):
                    call.log(ERROR, _NO_ACCEPT_ENV % name)
                    raise ProviderError(f'could not set environment variable "{name}": ssh: setenv failed')
            for name, value in previous.items():
                if not _request(channel, "env", name, value):
                    call.log(WARNING, _NO_ACCEPT_ENV % name)
            return _execute(call, channel, command, stdin.encode(), show)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise ProviderError(f"{error or 'EOF'}: running {go_quote(command)}:\n") from error


def _execute(call: Call, channel: Any, command: str, stdin: bytes, show: tuple[bool, bool]) -> tuple[str, str]:
    if not _request(channel, "exec", command):
        raise ProviderError(f"ssh: command {command} failed: running {go_quote(command)}:\n")
    together, lock = io.BytesIO(), threading.Lock()
    stdout, stderr = io.BytesIO(), io.BytesIO()

    def keep(receive: Callable[[int], bytes], into: io.BytesIO, shown: bool) -> None:
        lines = _Lines(lambda line: call.log(INFO, line, status=True))
        while data := receive(65536):
            with lock:
                together.write(data)
            into.write(data)
            if shown:
                lines.add(data)
        lines.end()

    def feed() -> None:
        # A command may end without having read everything.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            if stdin:
                channel.sendall(stdin)
            channel.shutdown_write()

    threads = [
        threading.Thread(target=feed, daemon=True),
        threading.Thread(target=keep, args=(channel.recv_stderr, stderr, show[1]), daemon=True),
    ]
    for thread in threads:
        thread.start()
    keep(channel.recv, stdout, show[0])
    threads[1].join()
    failure = _failure(channel)
    if failure:
        text = together.getvalue().decode(errors="replace")
        raise ProviderError(f"{failure}: running {go_quote(command)}:\n{text}")
    return _text(stdout), _text(stderr)


def _text(taken: io.BytesIO) -> str:
    return taken.getvalue().decode(errors="replace").removesuffix("\n")


_SIGNALS = {
    "HUP": 1,
    "INT": 2,
    "QUIT": 3,
    "ILL": 4,
    "ABRT": 6,
    "FPE": 8,
    "KILL": 9,
    "SEGV": 11,
    "PIPE": 13,
    "ALRM": 14,
    "TERM": 15,
}


def _failure(channel: Any) -> str | None:
    status = channel.recv_exit_status()
    if status == 0:
        return None
    if status > 0:
        return f"Process exited with status {status}"
    name, message = getattr(channel, "exit_signal", ("", ""))
    if not name:
        return "wait: remote command exited without exit status or exit signal"
    reason = f". Reason was: {message}" if message else ""
    return f"Process exited with status {128 + _SIGNALS.get(name, 0)} from signal {name}{reason}"


def go_quote(text: str) -> str:
    """`text` in double quotes, escaped as Go's %q does."""
    escapes = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    escapes |= {"\\": "\\\\", '"': '\\"'}
    quoted = []
    for character in text:
        if character in escapes:
            quoted.append(escapes[character])
        elif character.isprintable():
            quoted.append(character)
        else:
            code = ord(character)
            quoted.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(quoted) + '"'
