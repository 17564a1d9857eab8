"""The requests of the API client (api_client.py), which stands for another computer, so in a process of their own.

The process has the priority of the lab's prober: waiting for a processor would measure this computer. As threads of
pytest these requests waited for the CPU and for Python's lock, sometimes for 0.7 s, which counted as the API server's.

Its standard input begins with a JSON list on a line: a kubeconfig, and a label for its objects. When the input ends,
the client writes no more. It prints what happens, each event as a JSON list on a line:

- acknowledged, name, time: a write was answered
- request, begin, end, name, error: of a list, or a write of the object `name`; the error is empty if it was answered
- listed, names: of objects that were acknowledged before the list began, and are not in it
- watched, name: in the order of the watch's events
- interrupted, time: a watch ended early
"""

import base64
import contextlib
import http.client
import itertools
import json
import os
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .waiting import every

REST = 0.02
_PATH = "/api/v1/namespaces/default/configmaps"
# While leadership moves, raft drops what a follower forwards to the leader, without an answer, and such a write would
# wait for etcd's own limit of 7 s. This client gives it up, counts it as failed, and writes again, within a second.
_REQUEST_SECONDS = 0.6
_QUIET_SECONDS = 2.0  # a watch without an event for so long has ended
# Three clients that write as often as they can need more than one of two cores, in API servers and members. Then
# requests wait for each other and for the CPU, and not for what is measured.
_WRITE_REST = 0.1
_LIST_REST = 1.0
_PRIORITY = -10  # the same as the prober's
_ERROR = 500  # characters: a line is written at once only if it is short


def main() -> None:
    """Send requests until the standard input ends and the watch has caught up."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    client = _Client(*json.loads(sys.stdin.readline()))
    client.start()
    sys.stdin.read()
    client.finish()


def _say(*event: object) -> None:
    os.write(1, json.dumps(event).encode() + b"\n")


class _Client:
    def __init__(self, kubeconfig: str, label: str) -> None:
        self._address, self._tls = way_in(kubeconfig)
        self._label, self._selected = label, _selected(label)
        self._written, self._done = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._write, self._list, self._watch)]
        self._acknowledged: list[str] = []
        self._watched: set[str] = set()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        self._written.set()
        for thread in self._threads[:2]:
            thread.join(10)
        for _ in every(REST, seconds=10):
            if self._watched.issuperset(self._acknowledged):
                break
        self._done.set()

    def _connection(self, seconds: float = _REQUEST_SECONDS) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, timeout=seconds, context=self._tls)

    @contextlib.contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        """Say how long a request takes, and its error."""
        began, said = time.monotonic(), ""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            said = repr(error)[:_ERROR]
        _say("request", began, time.monotonic(), what, said)

    def _write(self) -> None:
        with contextlib.closing(self._connection()) as connection:
            for number in itertools.count():
                if self._written.is_set():
                    return
                name = f"{self._label}-{number:06}"
                body = {"metadata": {"name": name, "labels": {"probe": self._label}}, "data": {"number": str(number)}}
                rest = REST
                with self._counted(name):
                    answer_of(connection, "POST", _PATH, json.dumps(body))
                    self._acknowledged.append(name)
                    _say("acknowledged", name, time.monotonic())
                    rest = _WRITE_REST
                self._written.wait(rest)

    def _list(self) -> None:
        while not self._written.is_set():
            before, answer = list(self._acknowledged), None
            with self._counted("list"), contextlib.closing(self._connection()) as connection:
                answer = _answered(connection, "GET", self._selected)
            if answer is not None:
                _say("listed", sorted(set(before) - _names(json.loads(answer))))
            self._written.wait(_LIST_REST)

    def _watch(self) -> None:
        """As client-go does: list, then watch from the list's revision; again when the watch has ended.

        An API server that has restarted knows no events from before, so what is new in the list counts as seen.
        """
        while not self._done.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self._follow()
            if not self._done.is_set():
                _say("interrupted", time.monotonic())
            self._done.wait(REST)

    def _follow(self) -> None:
        with contextlib.closing(self._connection(_QUIET_SECONDS)) as connection:
            found = answer_of(connection, "GET", self._selected)
            for name in sorted(_names(found) - self._watched):
                self._see(name)
            revision = found["metadata"]["resourceVersion"]
            connection.request("GET", f"{self._selected}&watch=true&resourceVersion={revision}")
            answer = connection.getresponse()
            while line := answer.readline():
                event = json.loads(line)
                if event.get("type") != "ADDED":
                    return
                self._see(event["object"]["metadata"]["name"])

    def _see(self, name: str) -> None:
        self._watched.add(name)
        _say("watched", name)


def stored(kubeconfig: str, label: str, seconds: float) -> set[str]:
    """The names of the objects with a label that are in the store."""
    address, tls = way_in(kubeconfig)
    with contextlib.closing(http.client.HTTPSConnection(address, timeout=seconds, context=tls)) as connection:
        return _names(answer_of(connection, "GET", _selected(label)))


def _selected(label: str) -> str:
    return f"{_PATH}?labelSelector=probe%3D{label}"


def _names(found: dict[str, Any]) -> set[str]:
    return {item["metadata"]["name"] for item in found["items"]}


def answer_of(
    connection: http.client.HTTPSConnection, method: str, path: str, body: str | None = None
) -> dict[str, Any]:
    """The object in the answer. Raises OSError or HTTPException, also for an answer that is an error."""
    return dict(json.loads(_answered(connection, method, path, body)))


def _answered(connection: http.client.HTTPSConnection, method: str, path: str, body: str | None = None) -> bytes:
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request opens it again
        raise
    if answer.status not in (http.client.OK, http.client.CREATED):
        raise http.client.HTTPException(f"{answer.status} {text.decode()}")
    return text


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


if __name__ == "__main__":
    main()
