"""Requests to an API server at a bounded rate: how long each takes, and the longest time without an answer."""

import contextlib
import http.client
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .api_requests import answer_of, way_in

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
        writes: p99 of creates and updates, with those that failed.
        reads: p99 of gets and lists, with those that failed.
        gap: longest time without an answered write, or without an answered read.
        longest: the longest request.
        requests: number of requests.
        failed: number of those that failed.
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
        self._began = 0.0
        # Began, ended, error, in order; by writes and reads.
        self._requests: dict[str, list[tuple[float, float, str]]] = {"writes": [], "reads": []}
        self._threads = [
            threading.Thread(target=self._run, args=each, daemon=True)
            for each in (("writes", self._writes()), ("reads", self._reads()))
        ]

    def start(self) -> None:
        """Create the object that is updated and read, and begin."""
        with contextlib.closing(self._connection()) as connection:
            answer_of(connection, "POST", _WRITTEN, self._body(self._name, 0))
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    @property
    def answered(self) -> float:
        """When both writes and reads were answered last, on time.monotonic()'s clock."""
        return min(max([self._began, *self._answers(kind)]) for kind in self._requests)

    def finish(self) -> Report:
        """End, after the requests under way."""
        self._ended.set()
        for thread in self._threads:
            thread.join(_LIMIT)
        ended = time.monotonic()
        took = {kind: sorted(end - began for began, end, _ in each) for kind, each in self._requests.items()}
        gaps = [
            later - earlier
            for kind in self._requests
            for earlier, later in itertools.pairwise([self._began, *self._answers(kind), ended])
        ]
        errors = tuple(text for each in self._requests.values() for _, _, text in each if text)
        return Report(
            **{kind: each[int(len(each) * 0.99)] for kind, each in took.items()},
            gap=max(gaps),
            longest=max(each[-1] for each in took.values()),
            requests=sum(len(each) for each in took.values()),
            failed=len(errors),
            errors=errors,
        )

    def _answers(self, kind: str) -> list[float]:
        return [end for _, end, error in self._requests[kind] if not error]

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
            while not self._ended.is_set():
                began, said = time.monotonic(), ""
                method, path, body = next(requests)
                try:
                    answer_of(connection, method, path, body)
                except (OSError, http.client.HTTPException) as error:
                    said = f"{method} {path}: {error!r}"
                self._requests[kind].append((began, time.monotonic(), said))
                self._ended.wait(_REST)


def under_load(kubeconfig: str, action: Callable[[Load], object], patience: float = _LIMIT) -> Report:
    """Send requests during `action`; one that takes longer than `patience` (seconds) counts as failed."""
    load = Load(kubeconfig, patience)
    load.start()
    try:
        action(load)
    finally:
        report = load.finish()
    return report
