"""A download fails quickly, and is only used with the published checksum."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.web import served_by
from tools import download
from tools.base import ToolError, UnreachableError
from tools.download import checksum_in, fetch, open_url, read_text

CONTENT = b"a release" * 1000
RIGHT = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host is remembered as unreachable, and there is no proxy."""
    monkeypatch.setattr(download, "_unreachable", set())
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a web server on loopback with one file, `release`."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "release").write_bytes(CONTENT)
    with served_by(SimpleHTTPRequestHandler, directory=str(folder)) as url:
        yield url


def test_a_file_with_the_published_checksum_is_kept(server: str, tmp_path: Path) -> None:
    fetch(f"{server}/release", tmp_path / "file", RIGHT)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_with_another_checksum_is_refused_and_removed(server: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=f"has the SHA-256 {RIGHT} instead of the published {'0' * 64}; it is not used"):
        fetch(f"{server}/release", tmp_path / "file", "0" * 64)
    assert not (tmp_path / "file").exists()


def test_a_missing_file_is_not_an_unreachable_host(server: str) -> None:
    with pytest.raises(ToolError, match="/absent answered 404") as caught:
        read_text(f"{server}/absent")
    assert not isinstance(caught.value, UnreachableError)


def test_a_closed_port_is_unreachable_immediately() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(UnreachableError, match=f"127.0.0.1:{port} cannot be reached"):
            open_url(f"http://127.0.0.1:{port}/release")


def test_a_silent_host_costs_its_timeout_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/release"
        for _ in range(3):
            with pytest.raises(UnreachableError, match="cannot be reached"):
                open_url(url, answer_within=0.3)
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_the_usual_limit_is_a_few_seconds() -> None:
    assert download.ANSWER_WITHIN <= 4


def test_a_checksum_is_found_only_by_its_full_name() -> None:
    sums = f"{'a' * 64}  other-release\n{'B' * 64}  release\n{'c' * 64} *release.sig\n"
    assert checksum_in(sums, "release", "SUMS") == "b" * 64
    assert checksum_in(sums, "release.sig", "SUMS") == "c" * 64
    with pytest.raises(ToolError, match="SUMS has no SHA-256 of elease"):
        checksum_in(sums, "elease", "SUMS")


def test_an_error_page_instead_of_checksums_is_refused() -> None:
    with pytest.raises(ToolError, match="no SHA-256"):
        checksum_in("<html> release </html>", "release", "SUMS")
