"""What is said about the way to a machine before any command is run there."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.reach import UnreachableError, check_reachable

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
def sshd(tmp_path: Path, free_port: int) -> Iterator[tuple[int, str]]:
    """A real sshd on loopback: port and public host key."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    assert program, "this test needs sshd: apt-get install openssh-server"
    key = tmp_path / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=20)
    Path("/run/sshd").mkdir(exist_ok=True)
    command = [
        program,
        "-D",
        "-e",
        "-f",
        "/dev/null",
        "-h",
        str(key),
        "-p",
        str(free_port),
        "-o",
        "ListenAddress=127.0.0.1",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", free_port)) == 0:
                    break
            threading.Event().wait(0.05)
        yield free_port, " ".join((tmp_path / "host_key.pub").read_text().split()[:2])
    finally:
        process.terminate()
        process.wait(10)


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
