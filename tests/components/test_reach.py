"""What is said about the way to a machine before any command is run there."""

import socket
import threading
from collections.abc import Iterator

import pytest

from components.reach import UnreachableError, check_reachable
from tests.support.sshd import Sshd

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def greeter() -> Iterator[int]:
    """A server that greets like something else than ssh."""
    server = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"220 mail ready\r\n")

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    yield int(server.getsockname()[1])
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@pytest.fixture
def sshd() -> Iterator[tuple[int, str]]:
    """An ssh server on loopback: port and public host key."""
    with Sshd() as server:
        yield server.port, " ".join(server.host_key.split()[:2])


def test_a_machine_that_does_not_answer_is_named_with_cause_and_remedy(free_port: int) -> None:
    with pytest.raises(
        UnreachableError, match=r"(?s)etcd-2: .*127\.0\.0\.1 port \d+ \(connection refused\).*Start the machine"
    ):
        check_reachable("etcd-2", "127.0.0.1", free_port, KEY, wait=0)


def test_a_server_that_is_no_ssh_server_is_told_apart(greeter: int) -> None:
    with pytest.raises(UnreachableError, match="something else than an ssh server"):
        check_reachable("etcd-2", "127.0.0.1", greeter, KEY, wait=0)


def test_another_host_key_is_shown_beside_the_configured_one(sshd: tuple[int, str]) -> None:
    port, key = sshd
    with pytest.raises(UnreachableError) as caught:
        check_reachable("etcd-2", "127.0.0.1", port, KEY, wait=0)
    assert KEY in str(caught.value)
    assert key in str(caught.value)
    assert "installed anew" in str(caught.value)


def test_the_configured_host_key_is_accepted(sshd: tuple[int, str]) -> None:
    port, key = sshd
    check_reachable("etcd-2", "127.0.0.1", port, key, wait=0)
    check_reachable("etcd-2", "127.0.0.1", port, f"{key} with a comment", wait=0)


def test_a_machine_that_is_just_booting_is_waited_for(free_port: int) -> None:
    def boot() -> None:
        threading.Event().wait(1)
        with socket.create_server(("127.0.0.1", free_port)) as server:
            for _ in range(3):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-test\r\n")

    threading.Thread(target=boot, daemon=True).start()
    check_reachable("etcd-2", "127.0.0.1", free_port, "unknown-kind AAAA", wait=20)
