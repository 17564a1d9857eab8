"""Requests to etcd's web pages: what is sent, and which answers count."""

import http.server
import json
import socket
import threading
from typing import Any

import pytest

from components.node.protocol.exchange import exchange


def _asked(answer: bytes, content: Any = None) -> tuple[tuple[int, bytes, Any], str]:
    """The result of a request to a server that ends the connection after this answer, and what the server got."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(answer)
        there.shutdown(socket.SHUT_WR)
        found = exchange(here, "10.99.0.11:2379", "/page", content)
        here.shutdown(socket.SHUT_WR)
        return found, there.recv(1 << 16).decode()


def test_an_answer_has_status_body_and_headers_whatever_their_case() -> None:
    answer = b"HTTP/1.0 503 Not Now\r\nX-Etcd-Cluster-ID: 4d\r\ncontent-length: 4\r\n\r\nno\r\n"
    found, request = _asked(answer)
    assert found == (503, b"no\r\n", {"X-Etcd-Cluster-Id": "4d", "Content-Length": "4"})
    assert request == "GET /page HTTP/1.0\r\nHost: 10.99.0.11:2379\r\n\r\n"
    found, request = _asked(b"HTTP/1.1 200 OK\r\n\r\n{}", {"key": "a"})
    assert found == (200, b"{}", {})
    assert request.endswith('Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{"key": "a"}')


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhealthy", "broke off"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: many\r\n\r\nhealthy", "many"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not an answer of a web server: 'SSH-2"),
        (b"HTTP/1.0\r\n\r\n", "not an answer"),
        (b"\r\n\r\n", "not an answer"),
    ],
)
def test_an_incomplete_or_foreign_answer_does_not_count(answer: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _asked(answer)


def test_a_connection_that_ends_without_an_answer_was_reset() -> None:
    with pytest.raises(ConnectionResetError):
        _asked(b"")


def test_a_web_server_of_http_1_1_understands_it() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.rfile.read(int(self.headers["Content-Length"])) * 100_000)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        with socket.create_connection(("127.0.0.1", server.server_port), 10) as line:
            status, body, _ = exchange(line, "localhost", "/", {"a": 1})
    assert status == 200
    assert body == json.dumps({"a": 1}).encode() * 100_000
