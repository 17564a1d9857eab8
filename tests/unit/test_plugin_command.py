"""The `command` stand-in: dialling, trust, what runs and when, and its output."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from components.ssh_private_key import shortest
from lab.plugins.command import plugin
from lab.plugins.wire import UNKNOWN, Change, Secret, plain
from tests.support.needs import require_program
from tests.support.plugin_client import PluginClient, refused, running
from tests.support.ssh_agent import agent
from tests.support.sshd import Sshd, new_key

TOKEN = "command:remote:Command"
PRIVATE, PUBLIC = new_key()
OTHER_PRIVATE, OTHER_PUBLIC = new_key()


@pytest.fixture(scope="module")
def client() -> Iterator[PluginClient]:
    with running(plugin, TOKEN, PluginClient) as client:
        yield client


@pytest.fixture
def command(client: PluginClient) -> PluginClient:
    client.messages.clear()
    return client


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with Sshd(user_keys=[PUBLIC]) as server:
        yield server


@pytest.fixture(scope="module")
def bastion() -> Iterator[Sshd]:
    with Sshd(user_keys=[PUBLIC]) as server:
        yield server


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def way(port: object, host_key: str = PUBLIC, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "user": "u", "privateKey": PRIVATE, "hostKey": host_key, **more}


def inputs(connection: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"connection": Secret(connection), "create": "echo ran", "addPreviousOutputInEnv": False, **more}


def to(sshd: Sshd, **more: Any) -> dict[str, Any]:
    return inputs(way(sshd.port, sshd.host_key), **more)


def run(command: PluginClient, given: dict[str, Any], *, timeout: float = 0) -> str:
    return str(command.create(given, timeout=timeout)[1]["stdout"])


def error_of(command: PluginClient, given: dict[str, Any], *, timeout: float = 0) -> str:
    with pytest.raises(grpc.RpcError) as error:
        run(command, given, timeout=timeout)
    return refused(error)


# -- dialling -------------------------------------------------------------------------------------------------------


def test_a_refused_connection_is_retried_up_to_the_limit(command: PluginClient, free_port: int) -> None:
    started = time.monotonic()
    text = error_of(command, inputs(way(free_port, dialErrorLimit=2)))
    assert text == f"after 2 failed attempts: dial tcp 127.0.0.1:{free_port}: connect: connection refused"
    # 100 ms, then 150 ms.
    assert time.monotonic() - started >= 0.25
    assert [message.message for message in command.messages] == [f"Dial {n}/2 failed: retrying" for n in (1, 2)]
    assert all(message.ephemeral for message in command.messages)


def test_a_machine_that_comes_up_during_retries_is_reached(command: PluginClient, free_port: int) -> None:
    results: list[str] = []
    given = inputs(way(free_port, OTHER_PUBLIC))
    thread = threading.Thread(target=lambda: results.append(run(command, given)))
    thread.start()
    while not command.messages:
        time.sleep(0.01)
    with Sshd(user_keys=[PUBLIC], host_key=OTHER_PRIVATE, port=free_port):
        thread.join(20)
    assert results == ["ran"]


def test_a_silent_server_times_out_after_one_dial(command: PluginClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = error_of(command, inputs(way(listener.getsockname()[1], dialErrorLimit=0, perDialTimeout=1)))
    assert text == "after 0 failed attempts: ssh: handshake failed: i/o timeout"


def test_a_custom_timeout_ends_dialling_but_no_command(command: PluginClient, sshd: Sshd, free_port: int) -> None:
    assert error_of(command, inputs(way(free_port)), timeout=0.15) == "context deadline exceeded"
    assert run(command, to(sshd, create="sleep 0.3; echo ran"), timeout=0.15) == "ran"


def test_cancel_ends_the_dialling(free_port: int) -> None:
    with running(plugin, TOKEN, PluginClient) as command:
        timer = threading.Timer(0.2, lambda: command.stub.Cancel(empty_pb2.Empty(), timeout=10))
        timer.start()
        assert error_of(command, inputs(way(free_port))) == "context canceled"
        timer.join()


def test_connections_have_keepalive(command: PluginClient, sshd: Sshd) -> None:
    """With Go's keepalive: otherwise a dead bastion would be waited for forever."""
    require_program("ss", "iproute2")
    thread = threading.Thread(target=command.create, args=(to(sshd, create="sleep 1"),))
    thread.start()
    said = ""
    while "keepalive" not in said:
        assert thread.is_alive()
        line = ["ss", "-tno", "state", "established", f"( dport = :{sshd.port} )"]
        said = subprocess.run(line, capture_output=True, text=True, check=True, timeout=20).stdout
    thread.join(20)
    assert "timer:(keepalive" in said


def test_a_cancelled_command_continues_without_output(sshd: Sshd, tmp_path: Path) -> None:
    with running(plugin, TOKEN, PluginClient) as command:
        begun, go_on = tmp_path / "begun", tmp_path / "go-on"
        text = f"echo first; touch {begun}; while [ ! -e {go_on} ]; do sleep 0.05; done; echo last"
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(command.create(to(sshd, create=text))[1]["stdout"]))
        thread.start()
        while not (begun.exists() and command.messages):
            time.sleep(0.01)
        command.stub.Cancel(empty_pb2.Empty(), timeout=10)
        go_on.touch()
        thread.join(20)
        assert results == ["first\nlast"]
        assert [message.message for message in command.messages] == ["first"]


# -- trust ----------------------------------------------------------------------------------------------------------


def test_a_pinned_host_key_may_have_a_comment(command: PluginClient, sshd: Sshd) -> None:
    assert run(command, inputs(way(sshd.port, sshd.host_key + " root@etcd-1\n"))) == "ran"


def test_a_wrong_host_key_is_refused_before_login(command: PluginClient, sshd: Sshd, bastion: Sshd) -> None:
    ran = len(sshd.commands)
    mismatch = "after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch"
    wrong = way(sshd.port, OTHER_PUBLIC, privateKey=OTHER_PRIVATE, dialErrorLimit=0)
    assert error_of(command, inputs(wrong)) == mismatch
    proxy = way(bastion.port, OTHER_PUBLIC, dialErrorLimit=0)
    assert error_of(command, inputs(way(sshd.port, sshd.host_key, proxy=proxy))) == f"proxy: {mismatch}"
    behind = way(sshd.port, OTHER_PUBLIC, proxy=way(bastion.port, bastion.host_key))
    assert error_of(command, inputs(behind)) == "proxy: ssh: handshake failed: ssh: host key mismatch"
    assert len(sshd.commands) == ran


def test_an_unauthorized_key_is_refused(command: PluginClient, sshd: Sshd) -> None:
    text = error_of(command, inputs(way(sshd.port, sshd.host_key, privateKey=OTHER_PRIVATE, dialErrorLimit=0)))
    assert text == (
        "after 0 failed attempts: ssh: handshake failed: ssh: unable to authenticate, "
        "attempted methods [none publickey], no supported methods remain"
    )


def test_a_private_key_of_another_kind_is_refused_without_showing_it(command: PluginClient, sshd: Sshd) -> None:
    before = sshd.connections
    for key in (new_key("ecdsa")[0], "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----"):
        text = error_of(command, inputs(way(sshd.port, sshd.host_key, privateKey=key)))
        assert text.startswith("ssh: no key found")
        assert "hunter2" not in text
    assert sshd.connections == before


def test_the_shortest_form_of_a_key_is_read(command: PluginClient, sshd: Sshd) -> None:
    assert run(command, inputs(way(sshd.port, sshd.host_key, privateKey=shortest(PRIVATE)))) == "ran"


def test_an_encrypted_key_needs_its_passphrase(command: PluginClient, sshd: Sshd) -> None:
    private, public = new_key(passphrase="right")
    sshd.user_keys.add(public.split()[1])
    assert run(command, inputs(way(sshd.port, sshd.host_key, privateKey=private, privateKeyPassword="right"))) == "ran"
    text = error_of(command, inputs(way(sshd.port, sshd.host_key, privateKey=private, privateKeyPassword="wrong")))
    assert text.startswith("ssh: no key found")
    text = error_of(command, inputs(way(sshd.port, sshd.host_key, privateKey=private)))
    assert text == "ssh: this private key is passphrase protected"


def test_an_agent_is_used_without_a_key_and_must_answer(
    command: PluginClient, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = way(sshd.port, sshd.host_key, privateKey=None, dialErrorLimit=0)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert "unable to authenticate" in error_of(command, inputs(given))
    with agent(tmp_path, OTHER_PRIVATE, PRIVATE) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        assert run(command, inputs(given)) == "ran"
        # If the given key is refused, the agent's are not tried.
        assert "unable to authenticate" in error_of(command, inputs({**given, "privateKey": OTHER_PRIVATE}))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    text = error_of(command, to(sshd))
    assert text == f"dial unix {tmp_path}/gone: connect: no such file or directory"


# -- through a bastion ----------------------------------------------------------------------------------------------


def test_a_machine_behind_a_bastion_is_reached(command: PluginClient, sshd: Sshd, bastion: Sshd) -> None:
    assert run(command, inputs(way(sshd.port, sshd.host_key, proxy=way(bastion.port, bastion.host_key)))) == "ran"
    assert bastion.forwarded[-1] == ("127.0.0.1", sshd.port)
    assert bastion.commands == []


def test_bastion_failures_are_reported_and_its_target_is_retried(
    command: PluginClient, bastion: Sshd, free_port: int
) -> None:
    given = inputs(way(free_port, proxy=way(free_port, dialErrorLimit=0)))
    assert error_of(command, given).startswith("proxy: after 0 failed attempts: dial tcp 127.0.0.1:")
    given = inputs(way(free_port, dialErrorLimit=1, proxy=way(bastion.port, bastion.host_key)))
    assert error_of(command, given).startswith("proxy: after 1 failed attempts: ssh: rejected: connect failed (")
    assert [message.message for message in command.messages] == ["Dial from proxy 1/1 failed: retrying"]


# -- what runs ------------------------------------------------------------------------------------------------------


def test_create_runs_the_command_and_keeps_its_output(command: PluginClient, sshd: Sshd) -> None:
    identity, state = command.create(to(sshd, create="printf ' out\\n\\n'; echo err >&2"))
    assert identity.startswith("thing")
    assert len(identity) == len("thing") + 8
    # Only the last newline is removed.
    assert (state["stdout"], state["stderr"]) == (" out\n", "err")


def test_stdin_is_complete_but_need_not_be_read(command: PluginClient, sshd: Sshd) -> None:
    text = "line\n" * 100_000
    assert run(command, to(sshd, create="wc -c", stdin=Secret(text))).strip() == str(len(text))
    assert run(command, to(sshd, create="cat; echo end")) == "end"
    assert run(command, to(sshd, stdin=text)) == "ran"


def test_a_preview_and_a_read_never_dial(command: PluginClient, sshd: Sshd) -> None:
    before, given = sshd.connections, to(sshd)
    identity, state = command.create(given, preview=True)
    assert (identity, state["create"], state["stdout"], state["stderr"]) == ("", "echo ran", UNKNOWN, UNKNOWN)
    known = {**state, "stdout": "1", "stderr": ""}
    changed = command.update(known, {**given, "stdin": "x"}, preview=True)
    assert (changed["stdout"], changed["stderr"]) == (UNKNOWN, UNKNOWN)
    assert command.read("x", known, given) == ("x", known, command.check(given))
    assert sshd.connections == before


def test_an_update_runs_create_again_unless_it_has_its_own_command(command: PluginClient, sshd: Sshd) -> None:
    old = to(sshd, create="cat", stdin="one")
    _, state = command.create(old)
    assert command.update(state, {**old, "stdin": "two"})["stdout"] == "two"
    assert command.update(state, {**old, "update": "echo other"})["stdout"] == "other"
    with pytest.raises(grpc.RpcError) as error:
        command.update(state, {**old, "create": "exit 1"})
    assert refused(error) == 'Process exited with status 1: running "exit 1":\n'


def test_delete_uses_the_old_states_connection(command: PluginClient, sshd: Sshd) -> None:
    _, state = command.create(to(sshd, delete="echo good-bye"))
    command.delete(state)
    assert sshd.commands[-1] == "echo good-bye"
    before = sshd.connections
    command.delete({name: value for name, value in state.items() if name != "delete"})
    assert sshd.connections == before


def test_a_failure_reports_status_command_and_output(command: PluginClient, sshd: Sshd) -> None:
    text = error_of(command, to(sshd, create='echo "a\tb"; sleep 0.1; echo no >&2; exit 3', logging="stderr"))
    quoted = '"echo \\"a\\tb\\"; sleep 0.1; echo no >&2; exit 3"'
    assert text == f"Process exited with status 3: running {quoted}:\na\tb\nno\n"
    text = error_of(command, to(sshd, create="kill -KILL $$"))
    assert text == 'Process exited with status 137 from signal KILL: running "kill -KILL $$":\n'


@pytest.mark.parametrize(("logging", "shown"), [({}, {"out", "err"}), ({"logging": "stderr"}, {"err"})])
def test_output_is_logged_as_asked(command: PluginClient, sshd: Sshd, logging: dict[str, str], shown: set[str]) -> None:
    _, state = command.create(to(sshd, create="echo out; echo err >&2", **logging))
    assert {message.message for message in command.messages} == shown
    assert all((each.urn, each.ephemeral, each.severity) == (command.urn, True, 1) for each in command.messages)
    assert (state["stdout"], state["stderr"]) == ("out", "err")


def test_a_line_is_logged_immediately(command: PluginClient, sshd: Sshd, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"echo first; while ! test -e {gate}; do sleep 0.02; done; printf last"
    thread = threading.Thread(target=command.create, args=(to(sshd, create=script),))
    thread.start()
    deadline = time.monotonic() + 20
    while not command.messages and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [message.message for message in command.messages] == ["first"]
    gate.touch()
    thread.join(20)
    assert [message.message for message in command.messages] == ["first", "last"]


def test_sixteen_commands_run_at_once(command: PluginClient, sshd: Sshd, tmp_path: Path) -> None:
    # Each waits for all others: in sequence they would never end.
    script = f"touch {tmp_path}/$$; while test $(ls {tmp_path} | wc -l) -lt 16; do sleep 0.1; done; echo all"
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(run(command, to(sshd, create=script)))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == ["all"] * 16


# -- what changes, what is secret, what is refused ------------------------------------------------------------------


def test_changed_inputs_update_but_explicit_defaults_do_not(command: PluginClient) -> None:
    old = inputs(way(22), triggers=["a", 1], stdin=Secret("x"))
    for name, value in {"create": "a", "delete": "a", "stdin": "a", "connection": Secret(way(23))}.items():
        changes = command.diff({}, old, {**old, name: value})
        assert changes == {name: Change.ADD if name == "delete" else Change.UPDATE}
    spelled = way(22, dialErrorLimit=10, perDialTimeout=15)
    assert command.diff({}, old, {**old, "connection": Secret(spelled)}) == {}


def test_a_changed_trigger_replaces(command: PluginClient) -> None:
    old = inputs(way(22), triggers=["a", "b"])
    assert command.diff({}, old, {**old, "triggers": ["a", "c"]}) == {"triggers[1]": Change.UPDATE_REPLACE}
    assert command.diff({}, old, inputs(way(22))) == {"triggers": Change.DELETE_REPLACE}


def test_secret_inputs_stay_secret_and_the_connection_always_is(command: PluginClient, sshd: Sshd) -> None:
    _, state = command.create(plain(to(sshd, create="cat")) | {"stdin": Secret("hidden")})
    assert (state["stdin"], state["stdout"]) == (Secret("hidden"), "hidden")
    assert isinstance(state["connection"], Secret)


def test_unknown_inputs_pass_the_check(command: PluginClient) -> None:
    unknown = {"connection": UNKNOWN, "create": UNKNOWN, "triggers": [UNKNOWN], "addPreviousOutputInEnv": False}
    assert command.failures(unknown) == {}
    connection = way(22, host=UNKNOWN, hostKey=Secret(UNKNOWN), privateKey=UNKNOWN)
    assert command.failures({**unknown, "connection": connection, "stdin": UNKNOWN}) == {}


@pytest.mark.parametrize(
    ("more", "path", "reason"),
    [
        ({"connection": way(22, hots="b")}, "connection.hots", "no property 'hots'"),
        ({"connection": way(22, password="b")}, "connection.password", "no property 'password'"),
        ({"connection": way(22, hostKey=None)}, "connection.hostKey", "missing"),
        ({"connection": way(22, hostKey=new_key("ecdsa")[1])}, "connection.hostKey", "like ssh-ed25519 AAAA"),
        ({"connection": way(22, agentSocketPath="b")}, "connection.agentSocketPath", "no property"),
        ({"connection": way(22, privateKey="hunter2")}, "connection.privateKey", "Ed25519 key in OpenSSH format"),
        ({"connection": way("22")}, "connection.port", "must be a number, and a string"),
        ({"connection": way(22, dialErrorLimit=-1)}, "connection.dialErrorLimit", "at least 0"),
        ({"environment": {"A": "1"}}, "environment", "no property 'environment'"),
        ({"assetPaths": ["a"]}, "assetPaths", "no property 'assetPaths'"),
        ({"logging": "none"}, "logging", "must be one of stderr, stdoutAndStderr"),
        ({"triggers": "a"}, "triggers", "must be a list, and a string"),
        ({"addPreviousOutputInEnv": True}, "addPreviousOutputInEnv", "must be false"),
    ],
)
def test_a_wrong_or_unserved_input_is_refused_with_a_remedy(
    command: PluginClient, more: dict[str, Any], path: str, reason: str
) -> None:
    failures = command.failures({**inputs(way(22)), **more})
    assert list(failures) == [path]
    assert reason in failures[path]
    assert "install the official plugin" in failures[path]
    assert "hunter2" not in failures[path]


def test_an_unserved_type_is_refused_with_a_remedy(command: PluginClient) -> None:
    with pytest.raises(grpc.RpcError) as error:
        command.of("command:local:Command").check({})
    assert "command:local:Command is not served by this stand-in" in refused(error)
    assert "install the official plugin" in refused(error)
