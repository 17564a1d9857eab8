"""The tests' client of an API server measures the API server, and finds what it loses; without machines."""

import base64
import contextlib
import http.server
import itertools
import json
import multiprocessing
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar

import pytest

from tests.support.api_client import using
from tests.support.authority import OwnAuthority


class _Objects(http.server.BaseHTTPRequestHandler):
    """An API server that has only ConfigMaps."""

    protocol_version = "HTTP/1.1"
    forgotten = ""
    """The end of the name of an object that is acknowledged and watched, and not stored."""
    dropped = ""
    """The end of the name of an object whose creation is not answered in time, and does not happen."""
    names: ClassVar[list[str]] = []
    more = threading.Condition()

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        """Create an object."""
        created = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if created["metadata"]["name"][-6:] == self.dropped:
            time.sleep(2)
            return
        with self.more:
            self.names.append(created["metadata"]["name"])
            self.more.notify_all()
        self._answer(201, created)

    def do_GET(self) -> None:
        """List or watch."""
        watched = re.search(r"watch=true&resourceVersion=(\d+)", self.path)
        if watched is None:
            with self.more:
                revision, names = str(len(self.names)), list(self.names)
            items = [{"metadata": {"name": name}} for name in names if name[-6:] != self.forgotten]
            return self._answer(200, {"metadata": {"resourceVersion": revision}, "items": items})
        self.send_response(200)
        self.end_headers()
        for number in itertools.count(int(watched[1])):
            with self.more:
                while len(self.names) <= number:
                    self.more.wait()
                event = {"type": "ADDED", "object": {"metadata": {"name": self.names[number]}}}
            self.wfile.write(json.dumps(event).encode() + b"\n")
        return None

    def _answer(self, code: int, content: object) -> None:
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _serve(pair: Path, forgotten: str, dropped: str, port: Connection) -> None:
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    _Objects.forgotten, _Objects.dropped = forgotten, dropped
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Objects) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        port.send(server.server_address[1])
        server.serve_forever()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start an API server in a process of its own; returns the kubeconfig."""
    authority, pair = OwnAuthority(), tmp_path / "pair.pem"
    certificate, key = authority.issue("server", addresses=["127.0.0.1"])
    pair.write_text(certificate + key)
    spawn, started = multiprocessing.get_context("spawn"), []

    def start(forgotten: str = "", dropped: str = "") -> str:
        here, there = spawn.Pipe()
        started.append(spawn.Process(target=_serve, args=(pair, forgotten, dropped, there), daemon=True))
        started[-1].start()
        encoded = [base64.b64encode(text.encode()).decode() for text in (authority.certificate, certificate, key)]
        cluster = {"server": f"https://127.0.0.1:{here.recv()}", "certificate-authority-data": encoded[0]}
        user = {"client-certificate-data": encoded[1], "client-key-data": encoded[2]}
        return json.dumps({"clusters": [{"cluster": cluster}], "users": [{"user": user}]})

    yield start
    for process in started:
        process.kill()


def test_a_test_process_that_computes_does_not_count_as_a_slow_api_server(serving: Callable[..., str]) -> None:
    """Python runs one thread of a process at a time."""
    with using(serving()) as client:
        over = time.monotonic() + 1.5

        def compute() -> None:
            while time.monotonic() < over:
                pass

        threads = [threading.Thread(target=compute) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert client.longest_request < 0.5
    assert len(client.acknowledged) >= 10


def test_an_object_that_an_api_server_acknowledges_and_loses_is_found(serving: Callable[..., str]) -> None:
    with pytest.raises(AssertionError), using(serving("000002")) as client:
        while len(client.acknowledged) < 5 or not client.lists:
            time.sleep(0.05)
    assert [name[-6:] for name in client.acknowledged.keys() - client.stored()] == ["000002"]


def test_a_write_that_is_dropped_is_counted_and_its_limit_is_no_gap(serving: Callable[..., str]) -> None:
    with using(serving(dropped="000003"), stops=1) as client:
        while len(client.acknowledged) < 8 or not client.lists:
            time.sleep(0.05)
    assert len(client.failed) == 1
    assert "000003: TimeoutError" in client.failed[0]
    assert client.longest_gap < client.longest_request
    with pytest.raises(AssertionError, match="000003: TimeoutError"), using(serving(dropped="000003")) as client:
        while len(client.acknowledged) < 8 or not client.lists:
            time.sleep(0.05)
