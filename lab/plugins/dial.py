"""SSH connections: dial with retries, check the host key, log in."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .server import INFO, Call, ProviderError
from .start import unused

with unused("importlib.metadata", "invoke"):  # For its version, and for a command in ssh's configuration.
    import paramiko
    from cryptography.hazmat.primitives import serialization
    from paramiko.common import MSG_CHANNEL_REQUEST

Reached = TypeVar("Reached")
LOST = (paramiko.SSHException, EOFError, OSError)
"""The errors of a connection that broke."""
Files = paramiko.SFTPClient
"""SFTP over a channel of a connection."""
NO_FILES = (paramiko.SFTPError, *LOST)
"""The errors of `Files` if no SFTP server answers."""

KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 9),
)
"""As Go sets keepalive when it dials: a dead peer is given up after 150 s."""

# Callers report a connection's errors; paramiko would print them again, with a stack trace.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class DialError(Exception):
    """A connection failed; it is worth another attempt."""


def _channel_request(channel: Any, message: paramiko.Message) -> None:
    """Handle a server's message about a command: paramiko records the exit code, but not a signal."""
    start = message.packet.tell()
    if message.get_text() == "exit-signal":
        message.get_boolean()
        channel.exit_signal = message.get_text()
    message.packet.seek(start)
    paramiko.Channel._handle_request(channel, message)  # type: ignore[attr-defined]


class Transport(paramiko.Transport):
    """A transport that records signals."""

    _channel_handler_table = {  # noqa: RUF012
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_REQUEST: _channel_request,
    }


class _Login:
    """The login at one machine; an invalid private key is reported before anything is dialled."""

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self.host, self.port = str(connection["host"]), int(connection["port"])
        self.limit = int(connection["dialErrorLimit"])
        self.timeout = float(connection["perDialTimeout"])
        self._user = str(connection["user"])
        self._host_key = connection["hostKey"].split()[1]
        self._keys: list[paramiko.PKey] = []
        if "privateKey" in connection:
            self._keys = [_private_key(connection["privateKey"], connection.get("privateKeyPassword"))]
        # If the environment names an agent, it is always dialled, but only asked if there is no key: each login method
        # is tried once.
        if path := os.environ.get("SSH_AUTH_SOCK"):
            _dial_agent(path)
            self._keys = self._keys or list(paramiko.Agent().get_keys())

    def connect(self) -> Transport:
        """Dial and log in. Raises DialError."""
        endpoint = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        try:
            connection = socket.create_connection((self.host, self.port), self.timeout)
        except socket.gaierror:
            raise DialError(f"dial tcp: lookup {self.host}: no such host") from None
        except TimeoutError:
            raise DialError(f"dial tcp {endpoint}: i/o timeout") from None
        except OSError as error:
            cause = os.strerror(error.errno).lower() if error.errno else str(error)
            raise DialError(f"dial tcp {endpoint}: connect: {cause}") from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for level, option, value in KEEPALIVE:
            connection.setsockopt(level, option, value)
        return self.handshake(connection)

    def handshake(self, connection: Any) -> Transport:
        """Do the handshake over an open socket or channel, check the host key, log in. Raises DialError."""
        transport = Transport(connection)
        try:
            self._greet(transport)
            self._log_in(transport)
        except paramiko.AuthenticationException:
            cause = "ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain"
        except (DialError, *LOST) as error:
            cause = _cause(error)
        else:
            return transport
        transport.close()
        raise DialError(f"ssh: handshake failed: {cause}")

    def _log_in(self, transport: Transport) -> None:
        for key in self._keys:
            with contextlib.suppress(paramiko.AuthenticationException):
                if not transport.auth_publickey(self._user, key):
                    return
        raise paramiko.AuthenticationException("none is accepted")

    def _greet(self, transport: Transport) -> None:
        transport.daemon = True
        transport.banner_timeout = transport.handshake_timeout = self.timeout
        options = transport.get_security_options()
        # The fastest one: a short connection spends most of its time on the key exchange.
        options.kex = ("curve25519-sha256@libssh.org",)
        options.key_types = ("ssh-ed25519",)
        transport.start_client(timeout=self.timeout)
        if not transport.initial_kex_done:
            raise DialError("i/o timeout")
        if transport.get_remote_server_key().get_base64() != self._host_key:
            raise DialError("ssh: host key mismatch")


def _private_key(text: str, passphrase: str | None) -> paramiko.PKey:
    try:
        if "OPENSSH" not in text:  # paramiko reads no PKCS#8
            key = serialization.load_pem_private_key(text.encode(), None)
            form, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            text = key.private_bytes(serialization.Encoding.PEM, form, plain).decode()
        return paramiko.Ed25519Key.from_private_key(io.StringIO(text), passphrase)
    except paramiko.PasswordRequiredException:
        raise ProviderError("ssh: this private key is passphrase protected") from None
    except Exception:
        # Never show the cause: it may contain parts of the key.
        raise ProviderError(
            "ssh: no key found: privateKey is not an Ed25519 key with this passphrase; install the official plugin for "
            "other types of keys"
        ) from None


def _dial_agent(path: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(path)
    except OSError as error:
        raise ProviderError(f"dial unix {path}: connect: {os.strerror(error.errno or 0).lower()}") from None


def _cause(error: Exception) -> str:
    text = str(error)
    if isinstance(error.__context__, TimeoutError):
        return "i/o timeout"
    if isinstance(error, EOFError) or "protocol banner" in text or text == "Negotiation failed.":
        return "EOF"
    if isinstance(error, OSError) and error.errno == errno.ECONNRESET:
        return "read tcp: connection reset by peer"
    return text or type(error).__name__


def _retry(call: Call, label: str, limit: int, attempt: Callable[[], Reached]) -> Reached:
    delay, tries = 0.1, 0
    while True:
        try:
            return attempt()
        except DialError as error:
            if tries >= limit:
                raise ProviderError(f"after {tries} failed attempts: {error}") from None
        tries += 1
        call.log(INFO, f"{label} {tries}/{limit} failed: retrying", status=True)
        call.wait(delay)
        delay = min(delay * 1.5, 5.0)


def dial(call: Call, connection: Mapping[str, Any], opened: contextlib.ExitStack) -> Transport:
    """A connection to the machine, through its proxy if it has one; `opened` closes it. Raises ProviderError."""
    login = _Login(connection)
    if "proxy" not in connection:
        transport = _retry(call, "Dial", login.limit, login.connect)
        opened.callback(transport.close)
        return transport
    try:
        proxy = _Login(connection["proxy"])
        bastion = _retry(call, "Dial proxy", proxy.limit, proxy.connect)
        opened.callback(bastion.close)

        def through() -> paramiko.Channel:
            address = login.host, login.port
            try:
                return bastion.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=login.timeout)
            except paramiko.ChannelException as error:
                reasons = {1: "administratively prohibited", 2: "connect failed"}
                raise DialError(f"ssh: rejected: {reasons.get(error.code, error.code)} ({error.text})") from None
            except LOST as error:
                raise DialError(str(error) or "EOF") from None

        transport = login.handshake(_retry(call, "Dial from proxy", login.limit, through))
    except (ProviderError, DialError) as error:
        raise ProviderError(f"proxy: {error}") from None
    opened.callback(transport.close)
    return transport
