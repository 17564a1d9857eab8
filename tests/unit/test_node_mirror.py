"""Requests to a mirror: through a proxy, with headers, and through a cache."""

import base64
import http.server
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from components.node.service import mirror
from components.node.shared.errors import NodeError
from components.node.shared.spec import Release
from tests.support.web import served_by

TOKEN = "Bearer very-secret"


class Server:
    """A web server, or a proxy, that records its requests."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.answers: dict[str, str] = {}
        self.location = self.url = ""
        self.wants: dict[str, str] = {}
        self.offset, self.age, self.fresh = 0.0, "", True
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append((self.command, self.path, given))
                refused = any(given.get(name.lower()) != value for name, value in server.wants.items())
                self.stale = not (server.fresh and given.get("cache-control") == "no-cache")
                self.send_response(403 if refused else 302 if server.location else 200)
                if server.location:
                    self.send_header("Location", server.location)
                elif server.age and self.stale:
                    self.send_header("Age", server.age)
                self.send_header("Content-Length", "2")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(b"ok")

            do_HEAD = do_GET  # noqa: N815

            def do_CONNECT(self) -> None:
                server.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                self.send_error(502)

            stale = True

            def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
                return formatdate(time.time() + (server.offset if self.stale else 0.0), usegmt=True)

        self.handler = Handler


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    one, other = Server(), Server()
    with served_by(one.handler) as one.url, served_by(other.handler) as other.url:
        yield one, other


def read(url: str, **release: object) -> bytes:
    made = Release("3.6.16", "http://unused", {}, **release)  # type: ignore[arg-type]
    with mirror.open_url(url, made, time.time) as answer:
        return answer.read()


def test_a_mirror_gets_its_required_header(servers: tuple[Server, Server]) -> None:
    server, _ = servers
    server.wants = {"Authorization": TOKEN}
    with pytest.raises(NodeError, match=r"answers 403.*releaseHeaders") as caught:
        read(server.url, headers={"Authorization": "Bearer wrong"})
    assert "Bearer" not in str(caught.value)
    assert read(server.url, headers={"Authorization": TOKEN}) == b"ok"


def test_redirects_to_other_hosts_do_not_get_the_header(servers: tuple[Server, Server]) -> None:
    first, other = servers
    first.location = f"{other.url}/signed"
    assert read(f"{first.url}/v", headers={"Authorization": TOKEN}) == b"ok"
    assert other.asked[-1][1] == "/signed"
    assert "authorization" not in other.asked[-1][2]
    other.location, first.location = f"{first.url}/again", ""
    read(f"{other.url}/v", headers={"X-Token": TOKEN})
    assert "x-token" not in first.asked[-1][2]
    first.wants = {"Authorization": TOKEN}
    first.location = f"{first.url}/loop"
    with pytest.raises(NodeError):
        read(f"{first.url}/v", headers={"Authorization": TOKEN})
    assert first.asked[-1][1:] == ("/loop", {**first.asked[-1][2], "authorization": TOKEN})


def test_all_requests_use_the_proxy_with_its_own_header(servers: tuple[Server, Server]) -> None:
    proxy, _ = servers
    credentials = "Basic " + base64.b64encode(b"user:password").decode()
    headers = {"Authorization": TOKEN, "Proxy-Authorization": credentials}
    assert read("http://mirror.invalid/v3", proxy=proxy.url, headers=headers) == b"ok"
    verb, path, given = proxy.asked[-1]
    assert (verb, path) == ("GET", "http://mirror.invalid/v3")
    assert (given["proxy-authorization"], given["authorization"]) == (credentials, TOKEN)
    with pytest.raises(NodeError, match=f"cannot be reached through {proxy.url}.*releaseProxy"):
        read("https://mirror.invalid/v3", proxy=proxy.url, headers=headers)
    verb, path, given = proxy.asked[-1]
    assert (verb, path, given["proxy-authorization"]) == ("CONNECT", "mirror.invalid:443", credentials)
    assert "authorization" not in given, "the mirror's headers go only through the tunnel"


@pytest.mark.parametrize("age", ["7200", ""])
def test_a_cached_answer_is_not_a_wrong_clock(servers: tuple[Server, Server], age: str) -> None:
    """Age gives the delay; a cache without it is asked for a fresh answer."""
    server, _ = servers
    server.offset, server.age = -7200.0, age
    assert read(server.url) == b"ok"
    assert [verb for verb, _, _ in server.asked] == (["GET"] if age else ["GET", "HEAD"])


def test_a_caches_own_date_with_an_age_is_not_a_wrong_clock(servers: tuple[Server, Server]) -> None:
    servers[0].age = "86400"
    assert read(servers[0].url) == b"ok"
    assert len(servers[0].asked) == 1


@pytest.mark.parametrize("offset", [-3600.0, 3600.0])
def test_a_wrong_clock_is_also_refused_behind_a_cache(servers: tuple[Server, Server], offset: float) -> None:
    server, _ = servers
    server.offset, server.age, server.fresh = offset, "60", False
    with pytest.raises(NodeError, match="clock of this machine says"):
        read(server.url)
