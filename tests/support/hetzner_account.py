"""The Hetzner emulator's account in this process, without machines; tests can observe it and inject failures."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from hcloud import Client
from werkzeug.serving import make_server

from lab.clouds.hetzner.core import KINDS, Cloud, Row
from lab.clouds.hetzner.errors import ApiError
from lab.clouds.hetzner.machines import Machines
from lab.clouds.hetzner.web import PREFIX, api
from lab.clouds.serving import Handler
from lab.errors import LabError

TOKEN = "t" * 64


class _Quiet(Handler):
    def log_request(self, *_: Any) -> None:
        pass


class _Machines(Machines):
    """Machines whose creation can be delayed, or fail."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.broken = False

    def install(self, cloud: Cloud, server: Row) -> None:  # noqa: ARG002
        self.goes_on.wait(60)
        if self.broken:
            raise LabError("no disk")


class HetznerAccount:
    """An account and its API.

    Attributes:
        requests: the modifying ones: method, path, body.
        machines: of its servers.
    """

    def __init__(self) -> None:
        self.machines = _Machines()
        self.cloud = Cloud(self.machines)
        self.requests: list[tuple[str, str, Row]] = []
        self.refusals: list[tuple[str, str]] = []
        application = api(self.cloud, TOKEN)
        application.before_request(self._look)
        self._server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True  # type: ignore[attr-defined] # it is a ThreadingMixIn
        self._server.block_on_close = False  # type: ignore[attr-defined] # a client may keep its connection
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}{PREFIX}"

    def close(self) -> None:
        """End the API."""
        self._server.shutdown()
        self._server.server_close()

    def client(self, token: str = TOKEN) -> Client:
        """The official client."""
        return Client(token, self.endpoint, poll_interval=0.01, timeout=30)

    def refuse(self, path: str, code: str, times: int = 1) -> None:
        """Refuse the next requests to a path (a pattern with its method: `POST servers`)."""
        self.refusals += [(path, code)] * times

    def _look(self) -> None:
        method, path = flask.request.method, flask.request.path.removeprefix(f"{PREFIX}/")
        if method != "GET":
            self.requests.append((method, path, flask.request.get_json(silent=True) or {}))
        for entry in self.refusals:
            if re.fullmatch(entry[0], f"{method} {path}"):
                self.refusals.remove(entry)
                raise ApiError(entry[1], "no")

    def asked(self, path: str) -> list[Row]:
        """The bodies of all requests to a path (a pattern)."""
        return [body for _, asked, body in self.requests if re.fullmatch(path, asked)]

    def left(self) -> dict[str, list[str]]:
        """The names of all resources, by kind."""
        found = {kind: [row["name"] for row in self.cloud.rows(kind)] for kind in KINDS if kind != "actions"}
        return {kind: names for kind, names in found.items() if names}

    def one(self, kind: str) -> Row:
        """The only resource of a kind; it can be changed behind the API's back."""
        (row,) = self.cloud.rows(kind)
        return row

    def lose(self, *servers: Row) -> None:
        """Delete servers behind the program's back."""
        for server in servers:
            action = self.client().servers.get_by_id(server["id"]).delete()
            action.wait_until_finished()

    def clear(self) -> None:
        """Reset the account."""
        self.machines.goes_on.set()
        self.machines.broken = False
        for kind in KINDS:
            for row in self.cloud.rows(kind):
                self.cloud.remove(kind, row)
        self.requests.clear()
        self.refusals.clear()


@pytest.fixture(scope="module")
def served() -> Iterator[HetznerAccount]:
    """The module's account."""
    found = HetznerAccount()
    yield found
    found.close()


@pytest.fixture
def account(served: HetznerAccount) -> HetznerAccount:
    """The module's account, emptied."""
    served.clear()
    return served
