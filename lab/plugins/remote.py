"""Runs a command on a machine over SSH, or copies a file. Imported on first use, because paramiko is slow to load."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .dial import LOST, NO_FILES, Files, dial
from .server import INFO, Call, ProviderError


def run(call: Call, connection: Mapping[str, Any], command: str, stdin: str, *, quiet: bool) -> tuple[str, str]:
    """Run `command` and wait for its end.

    Args:
        connection: host, port, user and so on, without secret marks.
        command: for the login shell on the machine.
        stdin: its input; may be empty.
        quiet: stream only stderr to the user, not stdout.

    Returns:
        stdout and stderr, each without its last newline.

    Raises:
        ProviderError: no connection, or the command failed.
    """
    # Quoted as in Go, as far as the components' commands need it.
    # Quoted as Go does, as far as commands here show it.
    said = f"running {json.dumps(command, ensure_ascii=False)}:\n"
    with contextlib.ExitStack() as opened:
        transport = dial(call, connection, opened)
        try:
            channel = transport.open_session(timeout=60)
            channel.exec_command(command)
            return _follow(call, channel, stdin.encode(), said, quiet=quiet)
        except LOST as error:
            raise ProviderError(f"{error or 'EOF'}: {said}") from error


def copy(call: Call, connection: Mapping[str, Any], source: str, path: str) -> None:
    """Copy a file to a machine by SFTP; one that is there already is overwritten.

    Args:
        connection: as for `run`.
        source: path of the file here.
        path: its path there; a relative one begins where sftp does, in the login's home.

    Raises:
        ProviderError: no connection, no SFTP, or a place that cannot be written.
    """
    with contextlib.ExitStack() as opened:
        transport = dial(call, connection, opened)
        channel = transport.open_session(timeout=60)
        try:
            channel.invoke_subsystem("sftp")
        except LOST:
            raise ProviderError("ssh: subsystem request failed") from None
        try:
            client = Files(channel)
        except NO_FILES:
            # If the login prints something, its first bytes are read as a length.
            raise ProviderError("packet too long") from None
        opened.callback(client.close)
        try:
            client.put(source, path)
        except LOST as error:
            raise ProviderError(f"failed to create remote file {path}: {error}") from error


def _follow(call: Call, channel: Any, stdin: bytes, said: str, *, quiet: bool) -> tuple[str, str]:
    together, lock = io.BytesIO(), threading.Lock()
    stdout, stderr = io.BytesIO(), io.BytesIO()

    def keep(receive: Callable[[int], bytes], into: io.BytesIO, shown: bool) -> None:
        rest = b""
        while data := receive(65536):
            with lock:
                together.write(data)
            into.write(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines if shown else ():
                show(line)
        if rest and shown:
            show(rest)

    def show(line: bytes) -> None:
        # The official plugin sends it with a context that is already cancelled.
        if not call.cancelled.is_set():
            call.log(INFO, line.removesuffix(b"\r").decode(errors="replace"), status=True)

    def feed() -> None:
        # A command may end before it has read everything.
        with contextlib.suppress(*LOST):
            if stdin:
                channel.sendall(stdin)
            channel.shutdown_write()

    threads = [
        threading.Thread(target=feed, daemon=True),
        threading.Thread(target=keep, args=(channel.recv_stderr, stderr, True), daemon=True),
    ]
    for thread in threads:
        thread.start()
    keep(channel.recv, stdout, not quiet)
    threads[1].join()
    failure = _failure(channel)
    if failure:
        raise ProviderError(f"{failure}: {said}{together.getvalue().decode(errors='replace')}")
    return _text(stdout), _text(stderr)


def _text(taken: io.BytesIO) -> str:
    return taken.getvalue().decode(errors="replace").removesuffix("\n")


def _failure(channel: Any) -> str | None:
    status = channel.recv_exit_status()
    name = getattr(channel, "exit_signal", "")
    if name:
        return f"Process exited with status {128 + getattr(signal, f'SIG{name}', 0)} from signal {name}"
    if status < 0:
        return "wait: remote command exited without exit status or exit signal"
    return f"Process exited with status {status}" if status else None
