"""The stand-in for the plugin `command`: how it dials, whom it trusts, how it logs in, and when it gives up."""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.protobuf import empty_pb2

from lab.plugins.command import plugin
from lab.plugins.wire import Secret
from tests.support.plugin_client import PluginClient, refused, running
from tests.support.sshd import Sshd, new_key, silent_listener

TOKEN = "command:remote:Command"
PRIVATE, PUBLIC = new_key()


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def command() -> Iterator[PluginClient]:
    with running(plugin, TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with Sshd(user_keys=[PUBLIC]) as server:
        yield server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def to(port: int, **more: Any) -> dict[str, Any]:
    connection = {"host": "127.0.0.1", "port": port, "user": "operator", "privateKey": PRIVATE, **more}
    return {"connection": Secret({name: value for name, value in connection.items() if value is not None})}


def run(command: PluginClient, connection: dict[str, Any], *, timeout: float = 0) -> str:
    return str(command.create({**connection, "create": "echo ran"}, timeout=timeout)[1]["stdout"])


def error_of(command: PluginClient, connection: dict[str, Any], *, timeout: float = 0) -> str:
    with pytest.raises(grpc.RpcError) as error:
        run(command, connection, timeout=timeout)
    return refused(error)


# -- dialling -------------------------------------------------------------------------------------------------------


def test_a_refused_connection_is_tried_again_as_often_as_asked(command: PluginClient) -> None:
    port = free_port()
    started = time.monotonic()
    text = error_of(command, to(port, dialErrorLimit=3))
    assert text == f"after 3 failed attempts: dial tcp 127.0.0.1:{port}: connect: connection refused"
    # 100 ms, then half as much again each time.
    assert time.monotonic() - started >= 0.475
    assert [message.message for message in command.messages] == [f"Dial {n}/3 failed: retrying" for n in (1, 2, 3)]
    assert all(message.ephemeral for message in command.messages)


def test_a_limit_of_zero_means_one_try(command: PluginClient) -> None:
    assert error_of(command, to(free_port(), dialErrorLimit=0)).startswith("after 0 failed attempts: dial tcp")


def test_a_machine_that_comes_up_meanwhile_is_reached(command: PluginClient) -> None:
    port = free_port()
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(run(command, to(port, dialErrorLimit=-1))))
    thread.start()
    while len(command.messages) < 3:
        time.sleep(0.01)
    with Sshd(user_keys=[PUBLIC], port=port):
        thread.join(20)
    assert results == ["ran"]
    assert command.messages[0].message == "Dial 1/inf failed: retrying"


def test_a_name_that_does_not_exist_is_told(command: PluginClient) -> None:
    connection = to(22, host="no-such-machine.invalid", dialErrorLimit=0)
    assert error_of(command, connection).endswith("dial tcp: lookup no-such-machine.invalid: no such host")


def test_a_server_that_says_nothing_is_given_up_after_the_time_of_one_dial(command: PluginClient) -> None:
    with silent_listener() as port:
        text = error_of(command, to(port, dialErrorLimit=0, perDialTimeout=1))
    assert text == "after 0 failed attempts: ssh: handshake failed: i/o timeout"


def test_something_that_is_no_ssh_server_is_told(command: PluginClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        text = error_of(command, to(listener.getsockname()[1], dialErrorLimit=0))
    assert text.startswith("after 0 failed attempts: ssh: handshake failed: ")


def test_a_custom_timeout_ends_the_dialling(command: PluginClient) -> None:
    started = time.monotonic()
    text = error_of(command, to(free_port(), dialErrorLimit=-1), timeout=0.7)
    assert text == "context deadline exceeded"
    assert time.monotonic() - started > 0.5


def test_a_custom_timeout_does_not_end_a_running_command(command: PluginClient, sshd: Sshd) -> None:
    _, state = command.create({**to(sshd.port), "create": "sleep 0.6; echo ran"}, timeout=0.3)
    assert state["stdout"] == "ran"


def test_cancel_ends_the_dialling(command: PluginClient) -> None:
    threading.Timer(0.4, lambda: command.stub.Cancel(empty_pb2.Empty(), timeout=10)).start()
    assert error_of(command, to(free_port(), dialErrorLimit=-1)) == "context canceled"


# -- trust ----------------------------------------------------------------------------------------------------------


def test_the_pinned_host_key_is_accepted_with_and_without_a_comment(command: PluginClient, sshd: Sshd) -> None:
    assert run(command, to(sshd.port, hostKey=sshd.host_key)) == "ran"
    assert run(command, to(sshd.port, hostKey=sshd.host_key + " root@etcd-1\n")) == "ran"


def test_without_a_pinned_host_key_any_is_accepted(command: PluginClient, sshd: Sshd) -> None:
    assert run(command, to(sshd.port)) == "ran"


def test_another_host_key_is_refused(command: PluginClient, sshd: Sshd) -> None:
    ran = len(sshd.commands)
    text = error_of(command, to(sshd.port, hostKey=new_key()[1], dialErrorLimit=0))
    assert text == "after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch"
    assert len(sshd.commands) == ran


def test_a_host_key_of_an_algorithm_the_server_does_not_have_is_refused(command: PluginClient, sshd: Sshd) -> None:
    text = error_of(command, to(sshd.port, hostKey=new_key("ecdsa")[1], dialErrorLimit=0))
    assert text == (
        "after 0 failed attempts: ssh: handshake failed: ssh: no common algorithm for host key; "
        "we offered: [ecdsa-sha2-nistp256], peer offered: [ssh-ed25519]"
    )


def test_the_pinned_algorithm_is_asked_for_where_the_server_has_several(command: PluginClient) -> None:
    (first, first_line), (second, second_line) = new_key("ed25519"), new_key("ecdsa")
    with Sshd(user_keys=[PUBLIC], host_keys=[first, second]) as server:
        assert run(command, to(server.port, hostKey=first_line)) == "ran"
        assert run(command, to(server.port, hostKey=second_line)) == "ran"


def test_a_host_key_that_is_none_is_refused_before_anything_is_dialled(command: PluginClient, sshd: Sshd) -> None:
    before = sshd.connections
    assert error_of(command, to(sshd.port, hostKey="AAAA")) == "failed to parse host key: ssh: no key found"
    assert sshd.connections == before


# -- logging in -----------------------------------------------------------------------------------------------------


def test_a_key_the_machine_does_not_know_is_refused(command: PluginClient, sshd: Sshd) -> None:
    text = error_of(command, to(sshd.port, privateKey=new_key()[0], dialErrorLimit=0))
    assert text == (
        "after 0 failed attempts: ssh: handshake failed: ssh: unable to authenticate, "
        "attempted methods [none publickey], no supported methods remain"
    )


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("form", ["OpenSSH", "PKCS8", "TraditionalOpenSSL"])
def test_private_keys_of_every_kind_and_format_log_in(command: PluginClient, kind: str, form: str) -> None:
    if (kind, form) == ("ed25519", "TraditionalOpenSSL"):
        form = "PKCS8"
    key: Any = (
        rsa.generate_private_key(65537, 2048)
        if kind == "rsa"
        else serialization.load_ssh_private_key(new_key(kind)[0].encode(), None)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    with Sshd(user_keys=[public]) as server:
        assert run(command, to(server.port, privateKey=private, dialErrorLimit=0)) == "ran"


def test_a_key_with_a_password_logs_in_and_a_missing_password_is_told(command: PluginClient, sshd: Sshd) -> None:
    key = serialization.load_ssh_private_key(PRIVATE.encode(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open sesame"),
    ).decode()
    assert run(command, to(sshd.port, privateKey=locked, privateKeyPassword="open sesame")) == "ran"
    assert "a password is needed: set privateKeyPassword" in error_of(command, to(sshd.port, privateKey=locked))


def test_a_private_key_that_is_none_is_told_without_showing_it(command: PluginClient, sshd: Sshd) -> None:
    text = error_of(command, to(sshd.port, privateKey="hunter2"))
    assert text.startswith("ssh: no key found")
    assert "hunter2" not in text


def test_a_password_logs_in(command: PluginClient) -> None:
    with Sshd(password="swordfish") as server:
        assert run(command, to(server.port, privateKey=None, password="swordfish")) == "ran"
        wrong = to(server.port, privateKey=None, password="catfish", dialErrorLimit=0)
        assert "attempted methods [none password keyboard-interactive]" in error_of(command, wrong)


def test_an_agent_that_is_not_there_fails_even_where_a_key_is_given(
    command: PluginClient, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = f"dial unix {tmp_path}/gone: connect: no such file or directory"
    assert error_of(command, to(sshd.port, agentSocketPath=f"{tmp_path}/gone")) == expected
    monkeypatch.setenv("SSH_AUTH_SOCK", f"{tmp_path}/gone")
    assert error_of(command, to(sshd.port)) == expected


def test_a_key_in_an_agent_logs_in(command: PluginClient, sshd: Sshd, tmp_path: Path) -> None:
    with _agent(tmp_path / "agent") as path:
        assert run(command, to(sshd.port, privateKey=None, agentSocketPath=path)) == "ran"


class _agent:  # noqa: N801
    """An agent that holds the one key of this module."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._path = str(path)
        self._key = serialization.load_ssh_private_key(PRIVATE.encode(), None)
        self._blob = base64.b64decode(PUBLIC.split()[1])

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return self._path

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        while head := connection.recv(4, socket.MSG_WAITALL):
            question = connection.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL)
            answer = paramiko.Message()
            if question[0] == 11:
                answer.add_byte(b"\x0c")
                answer.add_int(1)
                answer.add_string(self._blob)
                answer.add_string("comment")
            else:
                request = paramiko.Message(question[1:])
                request.get_string()
                signature = paramiko.Message()
                signature.add_string("ssh-ed25519")
                signature.add_string(self._key.sign(request.get_string()))  # type: ignore[call-arg]
                answer.add_byte(b"\x0e")
                answer.add_string(signature.asbytes())
            connection.sendall(struct.pack(">I", len(answer.asbytes())) + answer.asbytes())


# -- by way of another machine --------------------------------------------------------------------------------------


def through(bastion: Sshd, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": bastion.port, "user": "jump", "privateKey": PRIVATE, **more}


def test_a_machine_behind_a_bastion_is_reached(command: PluginClient, sshd: Sshd) -> None:
    with Sshd(user_keys=[PUBLIC], forward=True) as bastion:
        connection = to(sshd.port, hostKey=sshd.host_key, proxy=through(bastion, hostKey=bastion.host_key))
        assert run(command, connection) == "ran"
        assert bastion.forwarded == [("127.0.0.1", sshd.port)]
        assert bastion.commands == []


def test_a_bastion_that_is_not_there_is_told(command: PluginClient, sshd: Sshd) -> None:
    proxy = {"host": "127.0.0.1", "port": free_port(), "privateKey": PRIVATE, "dialErrorLimit": 0}
    text = error_of(command, to(sshd.port, proxy=proxy))
    assert text.startswith("proxy: after 0 failed attempts: dial tcp 127.0.0.1:")


def test_the_host_key_of_a_bastion_is_checked(command: PluginClient, sshd: Sshd) -> None:
    with Sshd(user_keys=[PUBLIC], forward=True) as bastion:
        connection = to(sshd.port, proxy=through(bastion, hostKey=new_key()[1], dialErrorLimit=0))
        text = error_of(command, connection)
    assert text == "proxy: after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch"


def test_a_machine_that_the_bastion_does_not_reach_is_tried_again(command: PluginClient) -> None:
    with Sshd(user_keys=[PUBLIC], forward=True) as bastion:
        text = error_of(command, to(free_port(), dialErrorLimit=1, proxy=through(bastion)))
    assert text.startswith("proxy: after 1 failed attempts: ssh: rejected: connect failed (")
    assert [message.message for message in command.messages] == ["Dial from proxy 1/1 failed: retrying"]


def test_a_bastion_that_does_not_forward_is_told(command: PluginClient, sshd: Sshd) -> None:
    with Sshd(user_keys=[PUBLIC]) as bastion:
        text = error_of(command, to(sshd.port, dialErrorLimit=0, proxy=through(bastion)))
    assert text.startswith("proxy: after 0 failed attempts: ssh: rejected: administratively prohibited")
