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

_NAMESPACES = "/api/v1/namespaces"
_REQUEST_SECONDS = 1.0
_QUIET_SECONDS = 2.0  # a watch without an event for so long is opened again
_WRITE_REST = 0.03
_LIST_REST = 0.5


class ApiClient:
    """The client; use `using` to start and judge it."""

    def __init__(self, kubeconfig: str) -> None:
        settings = yaml.safe_load(kubeconfig)
        self._address = settings["clusters"][0]["cluster"]["server"].removeprefix("https://")
        self._tls = _tls(settings["clusters"][0]["cluster"], settings["users"][0]["user"])
        self._path = f"{_NAMESPACES}/default/configmaps"
        self._label = f"probe%3D{uuid.uuid4().hex[:8]}"
        self._revision = ""
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._write, self._list, self._watch)]
        self.acknowledged: dict[str, float] = {}
        """Name -> time of the acknowledgement."""
        self.failed: list[str] = []
        """Errors of requests."""
        self.stale: list[str] = []
        """Objects that were acknowledged before a list began, and are not in it."""
        self.lists = 0
        """Number of lists that were answered."""
        self.watched: list[str] = []
        """Names in the order of the watch's events."""
        self.watches = 0
        """Number of watches that were opened; one, unless a watch ended early."""

    def start(self) -> None:
        """Begin, from the present revision."""
        self._revision = self._request("GET", self._selected)["metadata"]["resourceVersion"]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """End, after the watch has had time to catch up."""
        self._ended.set()
        for thread in self._threads:
            thread.join(10)

    def stored(self) -> set[str]:
        """The names of the objects in the store."""
        return {item["metadata"]["name"] for item in self._request("GET", self._selected)["items"]}

    @property
    def longest_gap(self) -> float:
        """Longest time between two acknowledgements, in seconds."""
        times = list(self.acknowledged.values())
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    @property
    def _selected(self) -> str:
        return f"{self._path}?labelSelector={self._label}"

    def _connection(self, seconds: float = _REQUEST_SECONDS) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, timeout=seconds, context=self._tls)

    def _request(self, method: str, path: str) -> dict[str, Any]:
        with contextlib.closing(self._connection(10)) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == http.client.OK, text
            return dict(json.loads(text))

    def _write(self) -> None:
        connection = self._connection()
        label = dict([self._label.split("%3D")])
        for number in itertools.count():
            if self._ended.is_set():
                break
            name = f"{label['probe']}-{number:06}"
            body = json.dumps({"metadata": {"name": name, "labels": label}, "data": {"number": str(number)}})
            try:
                connection.request("POST", self._path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(f"{name}: {error!r}")
                connection.close()
                continue
            if answer.status == http.client.CREATED:
                self.acknowledged[name] = time.monotonic()
            else:
                self.failed.append(f"{name}: {answer.status} {text.decode()}")
            self._ended.wait(_WRITE_REST)
        connection.close()

    def _list(self) -> None:
        while not self._ended.is_set():
            before = list(self.acknowledged)
            try:
                there = self.stored()
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failed.append(f"list: {error!r}")
            else:
                self.lists += 1
                self.stale += [name for name in before if name not in there]
            self._ended.wait(_LIST_REST)

    def _watch(self) -> None:
        while not self._ended.is_set():
            self.watches += 1
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._follow()

    def _follow(self) -> None:
        with contextlib.closing(self._connection(_QUIET_SECONDS)) as connection:
            connection.request("GET", f"{self._selected}&watch=true&resourceVersion={self._revision}")
            answer = connection.getresponse()
            while line := answer.readline():
                event = json.loads(line)
                assert event["type"] == "ADDED", event
                self._revision = event["object"]["metadata"]["resourceVersion"]
                self.watched.append(event["object"]["metadata"]["name"])
                if self._ended.is_set() and len(self.watched) >= len(self.acknowledged):
                    return


def _tls(cluster: dict[str, str], user: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pair:
        names = ("client-certificate-data", "client-key-data")
        Path(pair.name).write_bytes(b"".join(base64.b64decode(user[name]) for name in names))
        context.load_cert_chain(pair.name)
    return context


@contextlib.contextmanager
def using(kubeconfig: str, gap: float = 1.0) -> Iterator[ApiClient]:
    """Run the client during the block; asserts that no acknowledged object and no event is lost, and the gap.

    Args:
        kubeconfig: of a user who may create, list and watch ConfigMaps.
        gap: longest time without an acknowledgement, in seconds.
    """
    client = ApiClient(kubeconfig)
    client.start()
    try:
        yield client
    finally:
        client.finish()
    print(
        f"{len(client.acknowledged)} objects, {client.lists} lists, {client.watches} watches, "
        f"longest gap {client.longest_gap:.2f} s, {len(client.failed)} failed: {client.failed[-5:]}"
    )
    assert client.acknowledged.keys() <= client.stored()
    assert not client.stale
    assert client.lists
    # The last events may come after the watch has ended.
    expected = list(client.acknowledged)[:-20]
    assert [name for name in client.watched if name in client.acknowledged][: len(expected)] == expected
    assert client.longest_gap < gap, client.failed[-5:]
