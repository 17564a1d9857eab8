"""The diagnosis of a failed connection, and how few requests it needs."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from components import ssh_diagnosis
from tests.support.recording import record
from tests.support.sshd import Sshd

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def greeter() -> Iterator[int]:
    """A server with another protocol than ssh."""
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
def sshd() -> Iterator[Sshd]:
    """An ssh server on loopback."""
    with Sshd() as server:
        yield server


def door(port: int, host_key: str = KEY) -> ssh_diagnosis.Door:
    return ssh_diagnosis.Door("etcd-2", "127.0.0.1", port, host_key)


def test_a_machine_that_does_not_answer_is_named_with_cause_and_remedy(free_port: int) -> None:
    said = ssh_diagnosis.wrong_with(door(free_port)) or ""
    assert said.startswith(f"etcd-2: no ssh server answers at 127.0.0.1 port {free_port} (connection refused)")
    assert "Start the machine" in said


def test_another_server_than_ssh_is_recognised(greeter: int) -> None:
    assert "something other than an ssh server" in (ssh_diagnosis.wrong_with(door(greeter)) or "")


def test_a_wrong_host_key_is_shown_beside_the_configured_one(sshd: Sshd) -> None:
    said = ssh_diagnosis.wrong_with(door(sshd.port)) or ""
    assert KEY in said
    assert sshd.host_key in said
    assert "reinstalled" in said
    assert sshd.connections == 1, "one look is enough"


def test_the_configured_host_key_is_accepted(sshd: Sshd) -> None:
    assert ssh_diagnosis.wrong_with(door(sshd.port, sshd.host_key)) is None
    assert ssh_diagnosis.wrong_with(door(sshd.port, f"{sshd.host_key} with a comment")) is None


def test_an_established_connection_is_not_disturbed(sshd: Sshd) -> None:
    with socket.create_connection(("127.0.0.1", sshd.port)):
        assert ssh_diagnosis.wrong_with(door(sshd.port)) is None
    assert sshd.connections == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [("127.0.0.1", "0100007F"), ("10.99.0.12", "0C00630A"), ("2001:db8::1", "B80D0120000000000000000001000000")],
)
def test_connections_are_found_in_the_kernels_tables(address: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.byteorder", "little")
    assert ssh_diagnosis._hexadecimal(address) == shown


async def _a_run(connection: Any, monkeypatch: pytest.MonkeyPatch, *, ends: bool) -> list[str]:
    """The doors that are checked in a run of three machines, whose commands end in time or not."""
    looked: list[str] = []
    monkeypatch.setattr(ssh_diagnosis, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(ssh_diagnosis, "wrong_with", lambda door: looked.append(f"{door.what} {door.host}:{door.port}"))
    args: Any = pulumi.ResourceHookArgs("urn", "id", "name", "type", new_inputs={"connection": connection})
    bindings = [ssh_diagnosis.hooks(f"etcd-{n}", f"etcd-{n}") for n in (1, 2, 3)]
    for _ in range(2):
        for binding in bindings:
            for hook in [*(binding.before_create or []), *((binding.after_update or []) if ends else [])]:
                await hook(args)  # type: ignore[misc]
        await asyncio.sleep(0.2)
    return looked


@pytest.mark.parametrize("secret", [True, False])
@pytest.mark.parametrize("ends", [True, False], ids=["works", "hangs"])
def test_a_door_is_checked_at_most_once_per_run(ends: bool, secret: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    bastion = {"host": "198.51.100.1", "port": 22.0, "hostKey": KEY}
    connection = {"host": "10.0.0.1", "port": 22.0, "hostKey": KEY, "proxy": bastion}
    looked: list[list[str]] = []

    async def program() -> None:
        given = pulumi.Output.secret(connection) if secret else connection
        looked.append(await _a_run(given, monkeypatch, ends=ends))

    record(program, preview=False)
    assert looked == [[] if ends else ["etcd-1's bastion 198.51.100.1:22"]]
