"""A client of a Kubernetes API server that counts, like the lab's prober: it creates, lists and watches objects."""

import base64
import contextlib
import http.client
import itertools
import json
import ssl
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .waiting import every

_PATH = "/api/v1/namespaces/default/configmaps"
# While leadership moves, raft drops what a follower forwards to the leader, without an answer, and such a write would
# wait for etcd's own limit of 7 s. This client gives it up, counts it as failed, and writes again.
_REQUEST_SECONDS = 0.75
_QUIET_SECONDS = 2.0  # a watch without an event for so long has ended
_RECONNECT_SECONDS = 2.0
_WRITE_REST = 0.03
_LIST_REST = 0.5
_REST = 0.02


class ApiClient:
    """The client; use `using` to start and judge it."""

    def __init__(self, kubeconfig: str) -> None:
        self._address, self._tls = way_in(kubeconfig)
        self._label = uuid.uuid4().hex[:8]
        self._selected = f"{_PATH}?labelSelector=probe%3D{self._label}"
        self._written, self._done = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._write, self._list, self._watch)]
        self._requests: list[tuple[float, float, str]] = []
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
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """End, after the watch has had time to catch up."""
        self._written.set()
        for thread in self._threads[:2]:
            thread.join(10)
        for _ in every(_REST, seconds=10):
            if self.acknowledged.keys() <= set(self.watched):
                break
        self._done.set()

    @contextlib.contextmanager
    def restart(self) -> Iterator[None]:
        """The client's own API server restarts during the block, and is ready at its end: requests fail meanwhile.

        Raises AssertionError unless writes and the watch work again soon afterwards.
        """
        begun = time.monotonic()
        yield
        ready = time.monotonic()
        for _ in every(_REST, seconds=_RECONNECT_SECONDS):
            if self.watched and self.acknowledged.get(self.watched[-1], 0) > ready:
                break
        else:
            raise AssertionError(f"no write and event within {_RECONNECT_SECONDS} s after the restart: {self.failed}")
        self._restarts.append((begun, time.monotonic()))

    def restarted(self) -> tuple[float, float]:
        """When its API server was away: from the first request that failed to the last one; those may fail.

        Called at the end of the block. Raises AssertionError if no request has failed.
        """
        failed = [(began, ended) for began, ended, text in self._requests if text]
        assert failed
        away = min(began for began, _ in failed), max(ended for _, ended in failed)
        # Its watch ends, and begins again.
        self._restarts.append((away[0] - _RECONNECT_SECONDS, away[1] + _RECONNECT_SECONDS))
        return away

    def stored(self) -> set[str]:
        """The names of the objects in the store."""
        return set(self._names(10))

    @property
    def failed(self) -> list[str]:
        """Errors of requests, but for those during a restart."""
        return [text for began, ended, text in self._requests if text and not self._restarting(began, ended)]

    @property
    def interrupted(self) -> list[float]:
        """When a watch ended early, but for those during a restart."""
        return [at for at in self._interrupted if not self._restarting(at - _REST, at)]

    @property
    def longest_request(self) -> float:
        """Seconds for the slowest request, but for those during a restart."""
        return max(ended - began for began, ended, _ in self._requests if not self._restarting(began, ended))

    @property
    def longest_gap(self) -> float:
        """Longest time between two acknowledgements, in seconds, without that of restarts."""
        pairs = itertools.pairwise(self.acknowledged.values())
        return max(later - earlier - self._restarting(earlier, later) for earlier, later in pairs)

    def _restarting(self, began: float, ended: float) -> float:
        """How many seconds of this time were a restart."""
        return sum(max(0.0, min(ended, last) - max(began, first)) for first, last in self._restarts)

    def _connection(self, seconds: float = _REQUEST_SECONDS) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, timeout=seconds, context=self._tls)

    @contextlib.contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        """Note how long a request takes, and its error."""
        began, said = time.monotonic(), ""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            said = f"{what}: {error!r}"
        self._requests.append((began, time.monotonic(), said))

    def _names(self, seconds: float = _REQUEST_SECONDS) -> list[str]:
        with contextlib.closing(self._connection(seconds)) as connection:
            return sorted(item["metadata"]["name"] for item in answer_of(connection, "GET", self._selected)["items"])

    def _write(self) -> None:
        with contextlib.closing(self._connection()) as connection:
            for number in itertools.count():
                if self._written.is_set():
                    return
                name = f"{self._label}-{number:06}"
                body = {"metadata": {"name": name, "labels": {"probe": self._label}}, "data": {"number": str(number)}}
                with self._counted(name):
                    answer_of(connection, "POST", _PATH, json.dumps(body))
                    self.acknowledged[name] = time.monotonic()
                self._written.wait(_WRITE_REST)

    def _list(self) -> None:
        while not self._written.is_set():
            before = list(self.acknowledged)
            with self._counted("list"):
                there = set(self._names())
                self.lists += 1
                self.stale += [name for name in before if name not in there]
            self._written.wait(_LIST_REST)

    def _watch(self) -> None:
        """As client-go does: list, then watch from the list's revision; again when the watch has ended.

        An API server that has restarted knows no events from before, so what is new in the list counts as seen.
        """
        while not self._done.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self._follow()
            if not self._done.is_set():
                self._interrupted.append(time.monotonic())
            self._done.wait(_REST)

    def _follow(self) -> None:
        with contextlib.closing(self._connection(_QUIET_SECONDS)) as connection:
            found = answer_of(connection, "GET", self._selected)
            seen = set(self.watched)
            self.watched += sorted({item["metadata"]["name"] for item in found["items"]} - seen)
            revision = found["metadata"]["resourceVersion"]
            connection.request("GET", f"{self._selected}&watch=true&resourceVersion={revision}")
            answer = connection.getresponse()
            while line := answer.readline():
                event = json.loads(line)
                if event.get("type") != "ADDED":
                    return
                self.watched.append(event["object"]["metadata"]["name"])


def answer_of(
    connection: http.client.HTTPSConnection, method: str, path: str, body: str | None = None
) -> dict[str, Any]:
    """The object in the answer. Raises OSError or HTTPException, also for an answer that is an error."""
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request opens it again
        raise
    if answer.status not in (http.client.OK, http.client.CREATED):
        raise http.client.HTTPException(f"{answer.status} {text.decode()}")
    return dict(json.loads(text))


def way_in(kubeconfig: str) -> tuple[str, ssl.SSLContext]:
    """Host and port of the API server, and the TLS settings of its user."""
    settings = yaml.safe_load(kubeconfig)
    cluster, user = settings["clusters"][0]["cluster"], settings["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pair:
        names = ("client-certificate-data", "client-key-data")
        Path(pair.name).write_bytes(b"".join(base64.b64decode(user[name]) for name in names))
        context.load_cert_chain(pair.name)
    return cluster["server"].removeprefix("https://"), context


@contextlib.contextmanager
def using(kubeconfig: str, stops: int = 0, gap: float = 1.0) -> Iterator[ApiClient]:
    """Run the client during the block; asserts that no acknowledged object and no event is lost, and the gap.

    No watch may end. No request may fail, but for one per stop of a member: an API server does not repeat a write whose
    outcome it does not know, as when the leader stops.

    Args:
        kubeconfig: of a user who may create, list and watch ConfigMaps.
        stops: number of times that a member stops during the block.
        gap: longest time without an acknowledgement, and for a request, in seconds.
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
    assert client.longest_gap < gap, failed[-5:]
    assert client.longest_request < gap
    assert len(failed) <= stops, failed
