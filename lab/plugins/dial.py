"""Connections over SSH: dialled as often as asked for, checked, logged in."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import paramiko
from paramiko.common import MSG_CHANNEL_FAILURE, MSG_CHANNEL_REQUEST

from .agent import Agent, AgentError
from .keys import Key, host_key, private_key
from .server import INFO, Call, ProviderError

Reached = TypeVar("Reached")

# Fast ones first: what is slow about a short connection is its key exchange.
_KEY_EXCHANGES = ("curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "diffie-hellman-group14-sha256")
_CIPHERS = ("aes128-ctr", "aes256-ctr", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_MACS = ("hmac-sha2-256", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512", "hmac-sha2-512-etm@openssh.com")
_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

# What goes wrong on a connection is told by its error; paramiko would print it a second time, with a stack trace.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class DialError(Exception):
    """A connection that could not be made; worth another try."""


def _channel_request(channel: Any, message: paramiko.Message) -> None:
    """What a server says about a command: paramiko knows how it exited, but not that a signal ended it."""
    start = message.packet.tell()
    if message.get_text() == "exit-signal":
        message.get_boolean()
        name = message.get_text()
        message.get_boolean()
        channel.exit_signal = name, message.get_text()
    message.packet.seek(start)
    paramiko.Channel._handle_request(channel, message)  # type: ignore[attr-defined]


def _channel_failure(channel: Any, _message: paramiko.Message) -> None:
    """A refused request: paramiko would close the channel, and a refused variable is no reason for that."""
    channel.event_ready = False
    channel.event.set()


class Transport(paramiko.Transport):
    """A transport that remembers what the server offered."""

    _channel_handler_table = {  # noqa: RUF012
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_REQUEST: _channel_request,
        MSG_CHANNEL_FAILURE: _channel_failure,
    }
    offered: tuple[str, ...] = ()

    def _parse_kex_init(self, message: paramiko.Message) -> None:
        start = message.packet.tell()
        parsed = self._really_parse_kex_init(message)  # type: ignore[attr-defined]
        message.packet.seek(start)
        self.offered = tuple(parsed["server_key_algo_list"])
        super()._parse_kex_init(message)  # type: ignore[misc]


class _Login:
    """How to log in at one machine: everything about it that is wrong shows before anything is dialled."""

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self.host = str(connection["host"])
        self.port = int(connection.get("port", 22))
        self.limit = int(connection.get("dialErrorLimit", 10))
        self.timeout = float(connection.get("perDialTimeout", 15)) or None
        self._user = str(connection.get("user", "root"))
        self._pinned = host_key(connection["hostKey"]) if "hostKey" in connection else None
        self._password = connection.get("password")
        key = connection.get("privateKey")
        self._key = private_key(key, connection.get("privateKeyPassword")) if key is not None else None
        self._agent: Agent | None = None
        path = connection.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK")
        if path:
            try:
                self._agent = Agent(path)
            except AgentError as error:
                raise ProviderError(str(error)) from error

    @property
    def endpoint(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def connect(self) -> Transport:
        """Dial and log in. Raises DialError."""
        try:
            connection = socket.create_connection((self.host, self.port), self.timeout)
        except socket.gaierror:
            raise DialError(f"dial tcp: lookup {self.host}: no such host") from None
        except TimeoutError:
            raise DialError(f"dial tcp {self.endpoint}: i/o timeout") from None
        except OSError as error:
            cause = os.strerror(error.errno).lower() if error.errno else str(error)
            raise DialError(f"dial tcp {self.endpoint}: connect: {cause}") from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.handshake(connection)

    def handshake(self, connection: Any) -> Transport:
        """Greet over an open connection (a socket or a channel), check the host key, log in. Raises DialError."""
        transport = Transport(connection)
        try:
            self._greet(transport)
            self._authenticate(transport)
        except DialError as error:
            transport.close()
            raise DialError(f"ssh: handshake failed: {error}") from None
        except (EOFError, paramiko.SSHException, OSError) as error:
            transport.close()
            raise DialError(f"ssh: handshake failed: {self._cause(error, transport)}") from None
        return transport

    def _greet(self, transport: Transport) -> None:
        transport.daemon = True
        limit = self.timeout or 3600.0
        transport.banner_timeout = transport.handshake_timeout = limit
        options = transport.get_security_options()
        options.kex = _KEY_EXCHANGES
        options.ciphers = _CIPHERS
        options.digests = _MACS
        if self._pinned is not None and self._pinned[0] in _KEY_TYPES:
            options.key_types = (self._pinned[0],)
        elif self._pinned is None:
            options.key_types = _KEY_TYPES
        transport.start_client(timeout=limit)
        if not transport.initial_kex_done:
            raise DialError("i/o timeout")
        if self._pinned is not None:
            if self._pinned[0] not in _KEY_TYPES:
                # Today's servers no longer sign by SHA-1, and that is all that ssh-rsa as an algorithm means.
                raise DialError(self._no_common_algorithm(transport))
            if transport.get_remote_server_key().asbytes() != self._pinned[1]:
                raise DialError("ssh: host key mismatch")

    def _cause(self, error: Exception, transport: Transport) -> str:
        text = str(error)
        if "no acceptable host key" in text:
            return self._no_common_algorithm(transport)
        if isinstance(error.__context__, TimeoutError):
            return "i/o timeout"
        if isinstance(error, EOFError) or "protocol banner" in text or text == "Negotiation failed.":
            return "EOF"
        if isinstance(error, OSError) and error.errno == errno.ECONNRESET:
            return f"read tcp {self.endpoint}: connection reset by peer"
        return text or type(error).__name__

    def _no_common_algorithm(self, transport: Transport) -> str:
        wanted = self._pinned[0] if self._pinned else " ".join(_KEY_TYPES)
        offered = " ".join(transport.offered)
        return f"ssh: no common algorithm for host key; we offered: [{wanted}], peer offered: [{offered}]"

    def _authenticate(self, transport: Transport) -> None:
        # Each method once: where a private key is given, the agent is dialled, but not asked.
        methods: list[tuple[str, Callable[[], Any]]] = []
        if self._key is not None:
            key = self._key
            methods.append(("publickey", lambda: transport.auth_publickey(self._user, key)))
        if self._password is not None:
            password = str(self._password)
            methods.append(("password", lambda: transport.auth_password(self._user, password, fallback=False)))
            answer = lambda _title, _text, questions: [password] * len(questions)  # noqa: E731
            methods.append(("keyboard-interactive", lambda: transport.auth_interactive(self._user, answer)))
        if self._agent is not None and self._key is None:
            agent = self._agent
            for blob in agent.identities():
                identity = Key(blob, lambda data, algorithm, blob=blob: agent.sign(blob, data, algorithm))  # type: ignore[misc]
                methods.append(("publickey", lambda identity=identity: transport.auth_publickey(self._user, identity)))  # type: ignore[misc]
        for _name, method in methods:
            with contextlib.suppress(paramiko.AuthenticationException):
                method()
                if transport.is_authenticated():
                    return
        attempted = " ".join(dict.fromkeys(["none", *(name for name, _method in methods)]))
        raise DialError(
            f"ssh: unable to authenticate, attempted methods [{attempted}], no supported methods remain"
        ) from None


def _retry(call: Call, label: str, limit: int, attempt: Callable[[], Reached]) -> Reached:
    delay, tries = 0.1, 0
    while True:
        try:
            return attempt()
        except DialError as error:
            if -1 < limit < tries + 1:
                raise ProviderError(f"after {tries} failed attempts: {error}") from None
        tries += 1
        call.log(INFO, f"{label} {tries}/{'inf' if limit == -1 else limit} failed: retrying", status=True)
        call.wait(delay)
        delay = min(delay * 1.5, 5.0)


def dial(call: Call, connection: Mapping[str, Any], opened: contextlib.ExitStack) -> Transport:
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
            try:
                address = login.host, login.port
                return bastion.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=login.timeout or 3600.0)
            except paramiko.ChannelException as error:
                reasons = {1: "administratively prohibited", 2: "connect failed", 3: "unknown channel type"}
                raise DialError(f"ssh: rejected: {reasons.get(error.code, error.code)} ({error.text})") from None
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise DialError(str(error) or "EOF") from None

        channel = _retry(call, "Dial from proxy", login.limit, through)
        transport = login.handshake(channel)
    except (ProviderError, DialError) as error:
        raise ProviderError(f"proxy: {error}") from None
    opened.callback(transport.close)
    return transport
