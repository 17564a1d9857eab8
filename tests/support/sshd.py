"""An SSH server on the loopback address, in the test's process: it runs commands with /bin/sh.

It can also be a bastion.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_CONNECT_FAILED,
    OPEN_SUCCEEDED,
    cMSG_CHANNEL_REQUEST,
)

# Clients that disconnect are normal, and paramiko would print them among the test results.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


def new_key(kind: str = "ed25519", passphrase: str = "") -> tuple[str, str]:
    """A key pair for a user or a host: the private key as OpenSSH text, the public one as one line."""
    key: Any = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    encryption: Any = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(passphrase.encode())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


class Sshd:
    """A server: `with Sshd(user_keys=[line]) as sshd:` serves until the end of the block.

    Args:
        user_keys: public keys (lines) that may log in.
        host_key: private key of the host, ed25519; None for a new one.
        port: 0 for a free one.
        home: where files that are copied to it go; None: it has no sftp.
        prints: what a login's shell says before it starts sftp.
    """

    def __init__(
        self,
        *,
        user_keys: Sequence[str] = (),
        host_key: str | None = None,
        port: int = 0,
        home: Path | None = None,
        prints: str = "",
    ) -> None:
        self.home, self.prints = home, prints
        self.user_keys = {line.split()[1] for line in user_keys}
        self.commands: list[str] = []
        self.forwarded: list[tuple[str, int]] = []
        self.connections = 0
        self._host_key = paramiko.Ed25519Key.from_private_key(io.StringIO(host_key or new_key()[0]))
        self._transports: list[paramiko.Transport] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._closed = False

    @property
    def host_key(self) -> str:
        """The host's public key, as one line."""
        return f"{self._host_key.get_name()} {self._host_key.get_base64()}"

    def __enter__(self) -> Sshd:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        # A blocked accept() would keep the port.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        transport = _Transport(connection)
        self._transports.append(transport)
        transport.add_server_key(self._host_key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files)
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(server=_Session(self, transport))


class _Transport(paramiko.Transport):
    """Signals when a request was answered: paramiko answers after it has called the server."""

    answered: threading.Event

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.answered = threading.Event()

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        self.answered.set()


class _Session(paramiko.ServerInterface):
    def __init__(self, sshd: Sshd, transport: _Transport) -> None:
        self._sshd = sshd
        self._transport = transport

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        known = key.get_base64() in self._sshd.user_keys
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_direct_tcpip_request(
        self,
        chanid: int,  # noqa: ARG002
        origin: tuple[str, int],  # noqa: ARG002
        destination: tuple[str, int],
    ) -> int:
        try:
            target = socket.create_connection(destination, 5)
        except OSError:
            return OPEN_FAILED_CONNECT_FAILED
        self._sshd.forwarded.append(destination)
        threading.Thread(target=self._relay, args=(target,), daemon=True).start()
        return OPEN_SUCCEEDED

    def _relay(self, target: socket.socket) -> None:
        channel = self._transport.accept(5)
        if channel is None:
            return

        def copy(source: Any, sink: Any) -> None:
            with contextlib.suppress(OSError, EOFError):
                while data := source.recv(65536):
                    sink.sendall(data)
            for end in (source, sink):
                with contextlib.suppress(OSError, EOFError):
                    end.close()

        threading.Thread(target=copy, args=(channel, target), daemon=True).start()
        copy(target, channel)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._sshd.commands.append(command.decode())
        self._transport.answered.clear()
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        if self._sshd.home is None:
            return False
        if self._sshd.prints:
            self._transport.answered.clear()
            threading.Thread(
                target=self._run, args=(channel, f"echo {self._sshd.prints}".encode()), daemon=True
            ).start()
            return True
        return super().check_channel_subsystem_request(channel, name)

    def home(self) -> Path:
        """The directory of its files."""
        assert self._sshd.home is not None
        return self._sshd.home

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        # A command that ends before its request is answered would close the channel before the answer.
        self._transport.answered.wait(60)
        _run(channel, command)


class _Files(paramiko.SFTPServerInterface):
    """As much of SFTP as a copy needs."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self._home: Path = server.home()

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat((self._home / path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def open(self, path: str, flags: int, attr: Any) -> Any:  # noqa: ARG002
        handle = paramiko.SFTPHandle(flags)
        try:
            vars(handle)["writefile"] = (self._home / path).open("wb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return handle


def _run(channel: paramiko.Channel, command: bytes) -> None:
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )

    def feed() -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            while data := channel.recv(65536):
                process.stdin.write(data)
        with contextlib.suppress(OSError):
            process.stdin.close()

    def pump(source: Any, send: Any) -> None:
        with contextlib.suppress(OSError):
            while data := source.read1(65536):
                send(data)

    threading.Thread(target=feed, daemon=True).start()
    pumps = [
        threading.Thread(target=pump, args=(process.stdout, channel.sendall), daemon=True),
        threading.Thread(target=pump, args=(process.stderr, channel.sendall_stderr), daemon=True),
    ]
    for thread in pumps:
        thread.start()
    for thread in pumps:
        thread.join()
    status = process.wait(timeout=60)
    with contextlib.suppress(OSError, EOFError):
        if status >= 0:
            channel.send_exit_status(status)
        else:
            _send_exit_signal(channel, signal.Signals(-status).name.removeprefix("SIG"))
        channel.close()


def _send_exit_signal(channel: Any, name: str) -> None:
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string(name)
    message.add_boolean(False)
    message.add_string("")
    message.add_string("")
    channel.transport._send_user_message(message)
