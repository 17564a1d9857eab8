"""A client of an SSH agent: the two questions that logging in needs."""

from __future__ import annotations

import os
import socket
import struct
import threading

_REQUEST_IDENTITIES, _IDENTITIES, _SIGN, _SIGNATURE = 11, 12, 13, 14
_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}


class AgentError(Exception):
    """An agent that cannot be reached."""


class Agent:
    """The agent at a socket. Raises AgentError when it cannot be reached."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(30)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            cause = os.strerror(error.errno).lower() if error.errno else str(error)
            raise AgentError(f"dial unix {path}: connect: {cause}") from error

    def identities(self) -> list[bytes]:
        """The public keys it holds; none when it does not answer as it should."""
        answer = self._ask(bytes([_REQUEST_IDENTITIES]))
        if answer[:1] != bytes([_IDENTITIES]):
            return []
        (count,) = struct.unpack(">I", answer[1:5])
        rest, keys = answer[5:], []
        for _ in range(count):
            key, rest = _take(rest)
            _comment, rest = _take(rest)
            keys.append(key)
        return keys

    def sign(self, key: bytes, data: bytes, algorithm: str) -> bytes:
        """A signature of `data`, in the form the SSH protocol wants. Raises OSError when the agent refuses."""
        flags = struct.pack(">I", _FLAGS.get(algorithm, 0))
        answer = self._ask(bytes([_SIGN]) + _string(key) + _string(data) + flags)
        if answer[:1] != bytes([_SIGNATURE]):
            raise OSError("agent: failed to sign challenge")
        return _take(answer[1:])[0]

    def _ask(self, question: bytes) -> bytes:
        with self._lock:
            self._socket.sendall(_string(question))
            (length,) = struct.unpack(">I", self._receive(4))
            return self._receive(length)

    def _receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self._socket.recv(length - len(data))
            if not piece:
                raise OSError("agent: the connection was closed")
            data += piece
        return data


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _take(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack(">I", data[:4])
    return data[4 : 4 + length], data[4 + length :]
