"""A client of a Kubernetes API server that counts, like the lab's prober: it creates, lists and watches objects."""

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .api_requests import REST, stored
from .waiting import every

_REPO = Path(__file__).resolve().parents[2]
GAP_SECONDS = 1.0
"""Longest time without an acknowledgement, and for a request."""
_RECONNECT_SECONDS = 2.0
_PATIENCE = 10.0  # seconds until the first answer, and for the client's end


@dataclass(frozen=True)
class _Request:
    began: float
    ended: float
    what: str
    """"list", or the name of the object that a write creates."""
    error: str

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class ApiClient:
    """The client; use `using` to start and judge it. Its requests are sent by a process of their own."""

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig, self._label = kubeconfig, uuid.uuid4().hex[:8]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._requests: list[_Request] = []
        self._interrupted: list[float] = []
        self._restarts: list[tuple[float, float]] = []
        self.acknowledged: dict[str, float] = {}
        """Name -> time of the acknowledgement."""
        self.stale: list[str] = []
        """Objects that were acknowledged before a list began, and are not in it."""
        self.lists = 0
        """Number of lists that were answered."""
        self.watched: list[str] = []
        """Names in the order of the watch's events."""

    def start(self) -> None:
        """Begin, and wait for the first acknowledgement."""
        command = [sys.executable, "-m", "tests.support.api_requests"]
        self._process = subprocess.Popen(command, cwd=_REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([self._kubeconfig, self._label]) + "\n")
        self._process.stdin.flush()
        self._reader.start()
        for _ in every(REST, seconds=_PATIENCE):
            if self.acknowledged:
                return
        self._process.kill()
        raise AssertionError(f"no write within {_PATIENCE:g} s: {self.failed}")

    def finish(self) -> None:
        """End, after the watch has had time to catch up."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(3 * _PATIENCE) == 0
        self._reader.join(_PATIENCE)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            kind, *event = json.loads(line)
            if kind == "acknowledged":
                name, at = event
                self.acknowledged[name] = at
            elif kind == "request":
                self._requests.append(_Request(*event))
            elif kind == "listed":
                self.lists += 1
                self.stale += event[0]
            elif kind == "watched":
                self.watched += event
            else:
                self._interrupted += event

    @contextlib.contextmanager
    def restart(self) -> Iterator[None]:
        """The client's own API server restarts during the block, and is ready at its end: requests fail meanwhile.

        Raises AssertionError unless writes and the watch work again soon afterwards.
        """
        begun = time.monotonic()
        yield
        ready = time.monotonic()
        for _ in every(REST, seconds=_RECONNECT_SECONDS):
            if self.watched and self.acknowledged.get(self.watched[-1], 0) > ready:
                break
        else:
            raise AssertionError(f"no write and event within {_RECONNECT_SECONDS} s after the restart: {self.failed}")
        self._restarts.append((begun, time.monotonic()))

    def restarted(self) -> tuple[float, float]:
        """When its API server was away: from the first request that failed to the last one; those may fail.

        Called at the end of the block. Raises AssertionError if no request has failed.
        """
        failed = [each for each in self._requests if each.error]
        assert failed
        # A request that failed long before or after the others makes the time long.
        for each in (*failed[:2], *failed[-2:]):
            print(f"failed at {each.began:.1f} s: {each.what} after {each.seconds:.2f} s: {each.error}")
        away = min(each.began for each in failed), max(each.ended for each in failed)
        # Its watch ends, and begins again.
        self._restarts.append((away[0] - _RECONNECT_SECONDS, away[1] + _RECONNECT_SECONDS))
        return away

    def stored(self) -> set[str]:
        """The names of the objects in the store."""
        return stored(self._kubeconfig, self._label, _PATIENCE)

    @property
    def failed(self) -> list[str]:
        """Errors of requests, but for those during a restart."""
        return [f"{each.what}: {each.error}" for each in self._outside if each.error]

    @property
    def interrupted(self) -> list[float]:
        """When a watch ended early, but for those during a restart."""
        return [at for at in self._interrupted if not self._restarting(at - REST, at)]

    @property
    def longest_request(self) -> float:
        """Seconds for the slowest request, but for those during a restart."""
        return max(each.seconds for each in self._outside)

    @property
    def longest_gap(self) -> float:
        """Longest time between two acknowledgements, in seconds, without that of restarts and of writes given up.

        How long a client waits for a write that leadership has dropped is its own limit; `failed` counts these writes.
        """
        lost = [each for each in self._outside if each.error and each.what != "list"]
        pairs = itertools.pairwise(self.acknowledged.values())
        return max(
            later
            - earlier
            - self._restarting(earlier, later)
            - sum(each.seconds for each in lost if earlier < each.began and each.ended < later)
            for earlier, later in pairs
        )

    @property
    def _outside(self) -> list[_Request]:
        """The requests that no restart touched."""
        return [each for each in self._requests if not self._restarting(each.began, each.ended)]

    def _restarting(self, began: float, ended: float) -> float:
        """How many seconds of this time were a restart."""
        return sum(max(0.0, min(ended, last) - max(began, first)) for first, last in self._restarts)


@contextlib.contextmanager
def using(kubeconfig: str, stops: int = 0) -> Iterator[ApiClient]:
    """Run the client during the block; asserts that no acknowledged object and no event is lost, and the gap.

    No watch may end. No request may fail, but for one per stop of a member or move of leadership: an API server does
    not repeat a write whose outcome it does not know. It repeats reads.

    Args:
        kubeconfig: of a user who may create, list and watch ConfigMaps.
        stops: number of times that a member stops, or hands over its leadership, during the block.
    """
    client = ApiClient(kubeconfig)
    client.start()
    try:
        yield client
    finally:
        client.finish()
    failed = client.failed
    print(
        f"{len(client.acknowledged)} objects, {client.lists} lists, longest gap {client.longest_gap:.2f} s, longest "
        f"request {client.longest_request:.2f} s, {len(failed)} failed: {failed[-5:]}"
    )
    assert client.acknowledged.keys() <= client.stored()
    assert client.stale == []
    assert client.lists
    assert [name for name in client.watched if name in client.acknowledged] == list(client.acknowledged)
    assert client.interrupted == []
    assert client.longest_gap < GAP_SECONDS, failed[-5:]
    assert client.longest_request < GAP_SECONDS
    assert len(failed) <= stops, failed
