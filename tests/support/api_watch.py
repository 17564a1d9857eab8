"""A client that follows ConfigMaps as Kubernetes' informers do, and remembers every revision that it was given."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .api_requests import answer_of, way_in

LISTED = "listed"
_PATH = "/api/v1/configmaps"
_REST = 0.05
_SECONDS = 20.0  # without any answer


@dataclass(frozen=True)
class Seen:
    """A list, or an event of a watch.

    Attributes:
        kind: LISTED, or the event's type.
        revision: resourceVersion of the list, or of the event's object.
        at: on time.monotonic()'s clock.
    """

    kind: str
    revision: int
    at: float


class Informer:
    """Lists, watches from the list's revision, and watches on from the last one whenever a watch ends.

    It lists again only when the API server says that this revision is too old (410 Gone), as client-go does.
    """

    def __init__(self, kubeconfig: str) -> None:
        self._address, self._tls = way_in(kubeconfig)
        self._ended = threading.Event()
        self._stale = True
        self.seen: list[Seen] = []
        self.gone: list[str] = []
        """Messages with which the API server refused a revision."""
        self.objects: dict[str, dict[str, str]] = {}
        """What it believes to exist: `namespace/name` -> data."""

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, daemon=True).start()

    def finish(self) -> None:
        """End, at the next event."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            # What an informer does on every other error: it tries again.
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                if self._stale:
                    self._list()
                self._watch(self.seen[-1].revision)
            self._ended.wait(_REST)

    def _refuse(self, status: dict[str, Any]) -> None:
        if status.get("code") == http.client.GONE:
            self.gone.append(str(status["message"]))
            self._stale = True

    def _connection(self) -> contextlib.closing[http.client.HTTPSConnection]:
        return contextlib.closing(http.client.HTTPSConnection(self._address, timeout=_SECONDS, context=self._tls))

    def _see(self, kind: str, found: dict[str, Any]) -> None:
        self.seen.append(Seen(kind, int(found["metadata"]["resourceVersion"]), time.monotonic()))

    def _list(self) -> None:
        with self._connection() as connection:
            found = answer_of(connection, "GET", _PATH)
        self.objects = {_name(each): each.get("data", {}) for each in found["items"]}
        self._stale = False
        self._see(LISTED, found)

    def _watch(self, revision: int) -> None:
        with self._connection() as connection:
            connection.request("GET", f"{_PATH}?watch=true&allowWatchBookmarks=true&resourceVersion={revision}")
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                self._refuse(json.loads(answer.read()))
                return
            while (line := answer.readline()) and not self._ended.is_set():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self._refuse(event["object"])
                    return
                if event["type"] == "DELETED":
                    self.objects.pop(_name(event["object"]), None)
                elif event["type"] != "BOOKMARK":
                    self.objects[_name(event["object"])] = event["object"].get("data", {})
                self._see(event["type"], event["object"])


def _name(found: dict[str, Any]) -> str:
    return f"{found['metadata']['namespace']}/{found['metadata']['name']}"


@contextlib.contextmanager
def informed(*kubeconfigs: str) -> Iterator[list[Informer]]:
    """Informers during the block, one for each kubeconfig."""
    made = [Informer(each) for each in kubeconfigs]
    for each in made:
        each.start()
    try:
        yield made
    finally:
        for each in made:
            each.finish()
