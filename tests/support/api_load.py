"""Requests to an API server at a bounded rate: how long each takes, and the longest time without an answer."""

import contextlib
import http.client
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .api_client import answer_of, way_in

_WRITTEN = "/api/v1/namespaces/default/configmaps"
_LISTED = "/api/v1/namespaces/kube-system/configmaps"  # always the same few
_REST = 0.03  # seconds between two requests of a thread
_LIST_EVERY = 10  # reads
_LIMIT = 60.0  # the API server's own limit for a request

Request = tuple[str, str, str | None]
"""Method, path, body."""


@dataclass(frozen=True)
class Report:
    """What the client saw; all times in seconds.

    Attributes:
        writes: p99 of the answered creates and updates.
        reads: p99 of the answered gets and lists.
        gap: longest time between two answered writes, or two answered reads.
        longest: the longest request, also a failed one.
        requests: number of answered requests.
        failed: number of the others.
        errors: their texts.
    """

    writes: float
    reads: float
    gap: float
    longest: float
    requests: int
    failed: int
    errors: tuple[str, ...]


class Load:
    """One thread writes (a create, then an update, ...), another one reads (gets, and sometimes a list)."""

    def __init__(self, kubeconfig: str, patience: float = _LIMIT) -> None:
        self._patience = patience
        self._address, self._tls = way_in(kubeconfig)
        self._name = f"load-{uuid.uuid4().hex[:8]}"
        self._ended = threading.Event()
        self._answered: dict[str, list[tuple[float, float]]] = {"writes": [], "reads": []}
        self._failed: list[tuple[float, str]] = []
        self._threads = [
            threading.Thread(target=self._run, args=each, daemon=True)
            for each in (("writes", self._writes()), ("reads", self._reads()))
        ]

    def start(self) -> None:
        """Create the object that is updated and read, and begin."""
        with contextlib.closing(self._connection()) as connection:
            answer_of(connection, "POST", _WRITTEN, self._body(self._name, 0))
        for thread in self._threads:
            thread.start()

    @property
    def last_write(self) -> float:
        """When the last answer to a write came, on time.monotonic()'s clock; 0 before the first."""
        return max((ended for _, ended in self._answered["writes"]), default=0.0)

    def finish(self) -> Report:
        """End, after the requests under way."""
        self._ended.set()
        for thread in self._threads:
            thread.join(_LIMIT)
        durations = {kind: sorted(ended - began for began, ended in each) for kind, each in self._answered.items()}
        pairs = [pair for each in self._answered.values() for pair in itertools.pairwise(end for _, end in each)]
        return Report(
            **{kind: _p99(each) for kind, each in durations.items()},
            gap=max(later - earlier for earlier, later in pairs),
            longest=max(*(each[-1] for each in durations.values()), *(seconds for seconds, _ in self._failed), 0.0),
            requests=sum(len(each) for each in durations.values()),
            failed=len(self._failed),
            errors=tuple(text for _, text in self._failed),
        )

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, timeout=self._patience, context=self._tls)

    def _body(self, name: str, number: int) -> str:
        return json.dumps({"metadata": {"name": name}, "data": {"number": str(number)}})

    def _writes(self) -> Iterator[Request]:
        for number in itertools.count(1):
            yield "POST", _WRITTEN, self._body(f"{self._name}-{number}", number)
            yield "PUT", f"{_WRITTEN}/{self._name}", self._body(self._name, number)

    def _reads(self) -> Iterator[Request]:
        for number in itertools.count():
            yield "GET", f"{_WRITTEN}/{self._name}" if number % _LIST_EVERY else _LISTED, None

    def _run(self, kind: str, requests: Iterator[Request]) -> None:
        with contextlib.closing(self._connection()) as connection:
            while not self._ended.wait(_REST):
                began = time.monotonic()
                method, path, body = next(requests)
                try:
                    answer_of(connection, method, path, body)
                except (OSError, http.client.HTTPException) as error:
                    self._failed.append((time.monotonic() - began, f"{method} {path}: {error!r}"))
                else:
                    self._answered[kind].append((began, time.monotonic()))


def _p99(ordered: Sequence[float]) -> float:
    return ordered[int(len(ordered) * 0.99)]


def under_load(kubeconfig: str, action: Callable[[Load], object], patience: float = _LIMIT) -> Report:
    """Send requests during `action`; one that takes longer than `patience` (seconds) counts as failed."""
    load = Load(kubeconfig, patience)
    load.start()
    try:
        action(load)
    finally:
        report = load.finish()
    return report
