"""A client like an API server: gRPC with a client certificate, transactions under a lease, a watch and a heartbeat.

The lab's prober uses etcd's JSON gateway, which ignores client certificates: with authentication on it has no user.
"""

import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc

from lab import Machine

_CALL_SECONDS = 0.25
_REST_SECONDS = 0.5
_WRITE_SECONDS = 0.02
_BACK_OFF_MS = 100


def _varint(number: int) -> bytes:
    head = number & 0x7F
    return bytes([head]) if number < 0x80 else bytes([head | 0x80]) + _varint(number >> 7)


def _message(*fields: tuple[int, int | bytes]) -> bytes:
    """A message of etcd's API from (field number, value); zeros are encoded too."""
    made = b""
    for number, value in fields:
        if isinstance(value, int):
            made += _varint(number << 3) + _varint(value)
        else:
            made += _varint(number << 3 | 2) + _varint(len(value)) + value
    return made


def _fields(message: bytes) -> list[tuple[int, Any]]:
    """The fields of a message, in their order."""
    found: list[tuple[int, Any]] = []
    at = 0

    def number() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = number()
        size = number()
        if tag & 7:
            found.append((tag >> 3, message[at : at + size]))
            at += size
        else:
            found.append((tag >> 3, size))
    return found


def _all(message: bytes, number: int) -> list[Any]:
    return [value for each, value in _fields(message) if each == number]


class ApiServer:
    """The client; use `running` to start and judge it."""

    def __init__(self, directory: Path, machines: Sequence[Machine]) -> None:
        files = (directory / name for name in ("ca.crt", "client.key", "client.crt"))
        secure = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
        quick = [
            (f"grpc.{kind}_reconnect_backoff_ms", _BACK_OFF_MS * times)
            for kind, times in (("initial", 1), ("min", 1), ("max", 5))
        ]
        self._channels = [grpc.secure_channel(f"{each.address}:2379", secure, quick) for each in machines]
        self._prefix = f"/registry/{uuid.uuid4().hex}/"
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=each, daemon=True) for each in (self._write, self._watch, self._heartbeat)
        ]
        self._lease = 0
        self.acknowledged: dict[str, float] = {}
        """Key -> time of the acknowledgement."""
        self.failed: list[str] = []
        """Errors of writes that were not acknowledged."""
        self.watched: list[str] = []
        """Keys in the order of the watch's events."""
        self.beats = 0
        """Number of keep-alives of the lease."""
        self.gone: list[str] = []
        """Keep-alive answers without a remaining TTL."""

    def start(self) -> None:
        """Grant a lease and begin."""
        deadline = time.monotonic() + 30
        while True:
            try:
                granted = self._call(0, "Lease/LeaseGrant", _message((1, 60)), seconds=30)
                break
            except grpc.RpcError as error:
                # The leader may have just been lost: an API server tries again, too.
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self._lease = _all(granted, 2)[0]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """End, after the watch has had time to catch up."""
        self._ended.set()
        for thread in self._threads:
            thread.join(5)

    def stored(self) -> set[str]:
        """The keys in the store."""
        found = self._call(0, "KV/Range", _message((1, self._prefix.encode()), (2, self._end)), seconds=10)
        return {_all(pair, 1)[0].decode() for pair in _all(found, 2)}

    @property
    def longest_gap(self) -> float:
        """Longest time between two acknowledgements, in seconds."""
        times = list(self.acknowledged.values())
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    @property
    def _end(self) -> bytes:
        return self._prefix[:-1].encode() + b"0"

    def _call(self, at: int, method: str, request: bytes, seconds: float = _CALL_SECONDS) -> bytes:
        call = self._channels[at].unary_unary(f"/etcdserverpb.{method}")
        return bytes(call(request, timeout=seconds))

    def _write(self) -> None:
        rests = [0.0] * len(self._channels)
        for number in itertools.count():
            if self._ended.is_set():
                return
            key = f"{self._prefix}{number:06}"
            # Endpoints that failed recently come last.
            now = time.monotonic()
            ready = [each for each, until in enumerate(rests) if until <= now] or list(range(len(rests)))
            at = ready[number % len(ready)]
            try:
                answer = self._call(at, "KV/Txn", self._create(key.encode()))
            except grpc.RpcError as error:
                self.failed.append(f"{at}: {error.code()}: {error.details()}")
                rests[at] = time.monotonic() + _REST_SECONDS
                continue
            assert _all(answer, 2) == [1]
            self.acknowledged[key] = time.monotonic()
            self._ended.wait(_WRITE_SECONDS)

    def _create(self, key: bytes) -> bytes:
        """Put the key under the lease unless it exists."""
        absent = _message((1, 0), (2, 1), (3, key), (5, 0))
        put = _message((1, key), (2, b"x"), (3, self._lease))
        return _message((1, absent), (2, _message((2, put))))

    def _heartbeat(self) -> None:
        at = 0
        while not self._ended.is_set():
            with contextlib.suppress(grpc.RpcError):
                call = self._channels[at % len(self._channels)].stream_stream("/etcdserverpb.Lease/LeaseKeepAlive")
                for answer in call(self._beats()):
                    self.beats += 1
                    if not _all(answer, 3):
                        self.gone.append(f"{at % len(self._channels)} after {self.beats}: {answer!r}")
            at += 1
            self._ended.wait(_REST_SECONDS)

    def _beats(self) -> Iterator[bytes]:
        while not self._ended.is_set():
            yield _message((1, self._lease))
            self._ended.wait(_REST_SECONDS)

    def _watch(self) -> None:
        at, revision = 0, 1
        while not self._ended.is_set():
            create = _message((1, self._prefix.encode()), (2, self._end), (3, revision))
            with contextlib.suppress(grpc.RpcError):
                call = self._channels[at % len(self._channels)].stream_stream("/etcdserverpb.Watch/Watch")
                for answer in call(self._asks(_message((1, create)))):
                    for event in _all(answer, 11):
                        pair = _all(event, 2)[0]
                        self.watched.append(_all(pair, 1)[0].decode())
                        revision = _all(pair, 3)[0] + 1
            at += 1
            self._ended.wait(0.1)

    def _asks(self, create: bytes) -> Iterator[bytes]:
        yield create
        while not self._ended.is_set():
            self._ended.wait(0.1)


@contextlib.contextmanager
def running(directory: Path, machines: Sequence[Machine], gap: float = 1.0) -> Iterator[ApiServer]:
    """Run the client during the block; asserts that no acknowledged write is lost and that no gap exceeds `gap`.

    Args:
        directory: contains `ca.crt`, `client.crt` and `client.key`.
        machines: the members, which it asks in turn.
        gap: in seconds.
    """
    client = ApiServer(directory, machines)
    client.start()
    try:
        yield client
    finally:
        client.finish()
    print(f"{len(client.acknowledged)} acknowledged, longest gap {client.longest_gap:.2f} s, {client.failed}")
    assert client.acknowledged.keys() <= client.stored()
    # The last events may come after the watch has ended.
    assert (
        list(client.acknowledged)[:-20]
        == [key for key in client.watched if key in client.acknowledged][: len(client.acknowledged) - 20]
    )
    assert client.beats
    assert not client.gone
    assert client.longest_gap < gap, client.failed[-5:]
