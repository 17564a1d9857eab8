"""The stand-in for the plugin `command`: which commands run, when, with what, and what comes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lab.plugins.command import plugin
from lab.plugins.wire import UNKNOWN, Change, Secret, plain
from tests.support.plugin_client import PluginClient, refused, running
from tests.support.sshd import Sshd, new_key

TOKEN = "command:remote:Command"
PRIVATE, PUBLIC = new_key()


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with Sshd(user_keys=[PUBLIC], accept_env=["COLOUR", "PULUMI_COMMAND_STDOUT"]) as server:
        yield server


@pytest.fixture
def command() -> Iterator[PluginClient]:
    with running(plugin, TOKEN) as client:
        yield client


def inputs(sshd: Sshd, **more: Any) -> dict[str, Any]:
    connection = {"host": "127.0.0.1", "port": sshd.port, "user": "operator", "privateKey": PRIVATE}
    return {"connection": Secret(connection), **more}


def test_create_runs_the_command_and_keeps_what_it_printed(command: PluginClient, sshd: Sshd) -> None:
    given = inputs(sshd, create="echo out; echo err >&2")
    identity, state = command.create(given)
    assert identity.startswith("thing")
    assert len(identity) == len("thing") + 8
    assert (state["stdout"], state["stderr"]) == ("out", "err")


def test_only_the_last_newline_of_the_output_is_taken_away(command: PluginClient, sshd: Sshd) -> None:
    assert command.create(inputs(sshd, create="printf ' a\\n\\n'"))[1]["stdout"] == " a\n"


def test_stdin_reaches_the_command_to_its_last_byte(command: PluginClient, sshd: Sshd) -> None:
    text = "line\n" * 200_000
    _, state = command.create(inputs(sshd, create="wc -c", stdin=Secret(text)))
    assert state["stdout"].strip() == str(len(text))


def test_without_stdin_the_command_reads_the_end_of_the_file(command: PluginClient, sshd: Sshd) -> None:
    assert command.create(inputs(sshd, create="cat; echo end"))[1]["stdout"] == "end"


def test_a_command_that_does_not_read_its_stdin_succeeds(command: PluginClient, sshd: Sshd) -> None:
    assert command.create(inputs(sshd, create="echo done", stdin="x" * 300_000))[1]["stdout"] == "done"


def test_without_create_nothing_is_dialled(command: PluginClient, sshd: Sshd) -> None:
    before = sshd.connections
    _, state = command.create(inputs(sshd))
    assert (state["stdout"], state["stderr"], sshd.connections) == ("", "", before)


def test_a_preview_never_dials_and_knows_no_output(command: PluginClient, sshd: Sshd) -> None:
    before = sshd.connections
    given = inputs(sshd, create="echo 1")
    identity, state = command.create(given, preview=True)
    assert identity == ""
    assert (state["stdout"], state["stderr"]) == (UNKNOWN, UNKNOWN)
    assert state["create"] == "echo 1"
    changed = command.update({**state, "stdout": "1", "stderr": ""}, given, {**given, "stdin": "x"}, preview=True)
    assert (changed["stdout"], changed["stderr"]) == (UNKNOWN, UNKNOWN)
    assert sshd.connections == before


def test_an_update_runs_create_again_where_there_is_no_update(command: PluginClient, sshd: Sshd) -> None:
    old = inputs(sshd, create="cat", stdin="one")
    _, state = command.create(old)
    assert command.update(state, old, {**old, "stdin": "two"})["stdout"] == "two"


def test_an_update_runs_update_where_there_is_one(command: PluginClient, sshd: Sshd) -> None:
    old = inputs(sshd, create="echo created", update="echo updated")
    _, state = command.create(old)
    assert command.update(state, old, {**old, "stdin": "two"})["stdout"] == "updated"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("create", "echo 2"),
        ("delete", "echo gone"),
        ("stdin", "x"),
        ("logging", "none"),
        ("environment", {"A": "1"}),
        ("addPreviousOutputInEnv", False),
    ],
)
def test_any_input_that_changes_is_an_update(command: PluginClient, sshd: Sshd, name: str, value: object) -> None:
    old = inputs(sshd, create="echo 1")
    changes = command.diff({}, old, {**old, name: value})
    assert set(changes) == {name}
    assert set(changes.values()) <= {Change.ADD, Change.UPDATE}


def test_a_connection_that_changes_is_an_update(command: PluginClient, sshd: Sshd) -> None:
    old = inputs(sshd, create="echo 1")
    new = {**old, "connection": Secret({**old["connection"].value, "user": "other"})}
    assert command.diff({}, old, new) == {"connection": Change.UPDATE}


def test_the_same_inputs_are_no_change(command: PluginClient, sshd: Sshd) -> None:
    old = inputs(sshd, create="echo 1", triggers=["a", 1], environment={"A": "1"}, stdin=Secret("x"))
    assert command.diff({}, old, old) == {}


def test_a_default_that_is_spelled_out_is_no_change(command: PluginClient, sshd: Sshd) -> None:
    old = inputs(sshd, create="echo 1")
    spelled = {**old["connection"].value, "dialErrorLimit": 10, "perDialTimeout": 15}
    assert command.diff({}, old, {**old, "connection": Secret(spelled)}) == {}


def test_a_trigger_that_changes_is_a_replacement(command: PluginClient, sshd: Sshd) -> None:
    old = inputs(sshd, create="echo 1", triggers=["a", "b"])
    assert command.diff({}, old, {**old, "triggers": ["a", "c"]}) == {"triggers[1]": Change.UPDATE_REPLACE}
    assert command.diff({}, old, inputs(sshd, create="echo 1")) == {"triggers": Change.DELETE_REPLACE}


def test_delete_that_is_not_set_dials_nothing(command: PluginClient, sshd: Sshd) -> None:
    state = {**inputs(sshd, create="echo 1"), "stdout": "", "stderr": ""}
    before = sshd.connections
    command.delete(state)
    assert sshd.connections == before


def test_delete_dials_with_the_connection_of_the_old_state(command: PluginClient, sshd: Sshd) -> None:
    _, state = command.create(inputs(sshd, create="echo 1", delete="echo good-bye"))
    command.delete(state)
    assert sshd.commands[-1] == "echo good-bye"


def test_a_read_returns_what_it_was_given_and_dials_nothing(command: PluginClient, sshd: Sshd) -> None:
    given = inputs(sshd, create="echo 1")
    state = {**command.check(given), "stdout": "old", "stderr": ""}
    before = sshd.connections
    assert command.read(state, given) == ("x", state, command.check(given))
    assert sshd.connections == before


def test_a_failure_tells_the_status_the_command_and_everything_it_printed(command: PluginClient, sshd: Sshd) -> None:
    with pytest.raises(grpc.RpcError) as error:
        command.create(inputs(sshd, create='echo "a\tb"; sleep 0.2; echo no >&2; exit 3', logging="none"))
    assert refused(error) == (
        'Process exited with status 3: running "echo \\"a\tb\\"; sleep 0.2; echo no >&2; exit 3":\na\tb\nno\n'.replace(
            '\\"a\tb\\"', '\\"a\\tb\\"'
        )
    )


def test_a_command_that_a_signal_ended_says_which(command: PluginClient, sshd: Sshd) -> None:
    with pytest.raises(grpc.RpcError) as error:
        command.create(inputs(sshd, create="kill -KILL $$"))
    assert refused(error) == 'Process exited with status 137 from signal KILL: running "kill -KILL $$":\n'


def test_a_failed_update_is_an_error_so_that_the_old_state_stays(command: PluginClient, sshd: Sshd) -> None:
    old = inputs(sshd, create="cat", stdin="one")
    _, state = command.create(old)
    with pytest.raises(grpc.RpcError) as error:
        command.update(state, old, {**old, "create": "exit 1"})
    assert refused(error) == 'Process exited with status 1: running "exit 1":\n'


@pytest.mark.parametrize(
    ("logging", "expected"),
    [
        (None, {"out", "err"}),
        ("stdoutAndStderr", {"out", "err"}),
        ("stdout", {"out"}),
        ("stderr", {"err"}),
        ("none", set()),
    ],
)
def test_output_is_logged_as_asked(command: PluginClient, sshd: Sshd, logging: str | None, expected: set[str]) -> None:
    chosen = {} if logging is None else {"logging": logging}
    _, state = command.create(inputs(sshd, create="echo out; echo err >&2", **chosen))
    assert {message.message for message in command.messages} == expected
    assert all(message.urn == command.urn and message.ephemeral for message in command.messages)
    assert all(message.severity == 1 for message in command.messages)
    assert (state["stdout"], state["stderr"]) == ("out", "err")


def test_a_line_is_logged_as_soon_as_it_is_there(command: PluginClient, sshd: Sshd, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"echo first; while ! test -e {gate}; do sleep 0.02; done; printf last"
    thread = threading.Thread(target=command.create, args=(inputs(sshd, create=script),))
    thread.start()
    deadline = time.monotonic() + 20
    while not command.messages and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [message.message for message in command.messages] == ["first"]
    gate.touch()
    thread.join(20)
    assert [message.message for message in command.messages] == ["first", "last"]


def test_a_variable_that_the_server_accepts_is_set(command: PluginClient, sshd: Sshd) -> None:
    _, state = command.create(inputs(sshd, create="echo $COLOUR", environment={"COLOUR": "blue"}))
    assert state["stdout"] == "blue"


def test_a_variable_that_the_server_refuses_is_an_error(command: PluginClient, sshd: Sshd) -> None:
    with pytest.raises(grpc.RpcError) as error:
        command.create(inputs(sshd, create="echo", environment={"SHAPE": "round"}))
    assert refused(error) == 'could not set environment variable "SHAPE": ssh: setenv failed'


def test_the_previous_output_is_offered_and_a_refusal_is_only_a_warning(command: PluginClient, sshd: Sshd) -> None:
    old = inputs(sshd, create="echo one; echo two >&2", update='echo "was $PULUMI_COMMAND_STDOUT"')
    _, state = command.create(old)
    assert command.update(state, old, {**old, "stdin": "x"})["stdout"] == "was one"
    warnings = [message.message for message in command.messages if message.severity == 2]
    assert len(warnings) == 1
    assert "'PULUMI_COMMAND_STDERR'" in warnings[0]
    assert "AcceptEnv" in warnings[0]


def test_the_previous_output_is_not_offered_when_that_is_switched_off(command: PluginClient, sshd: Sshd) -> None:
    old = inputs(sshd, create="echo one", update='echo "was $PULUMI_COMMAND_STDOUT"', addPreviousOutputInEnv=False)
    _, state = command.create(old)
    assert command.update(state, old, {**old, "stdin": "x"})["stdout"] == "was "


def test_secret_inputs_stay_secret_and_the_output_is_plain(command: PluginClient, sshd: Sshd) -> None:
    _, state = command.create(inputs(sshd, create="cat", stdin=Secret("hidden"), environment=Secret({})))
    assert state["stdin"] == Secret("hidden")
    assert isinstance(state["connection"], Secret)
    assert isinstance(state["environment"], Secret)
    assert state["stdout"] == "hidden"


def test_a_connection_is_secret_even_if_the_program_did_not_say_so(command: PluginClient, sshd: Sshd) -> None:
    given = inputs(sshd)
    assert isinstance(command.check({"connection": plain(given["connection"])})["connection"], Secret)


def test_the_defaults_of_a_connection_are_filled_in(command: PluginClient) -> None:
    filled = command.check({"connection": {"host": "a", "proxy": {"host": "b"}}})["connection"].value
    defaults = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
    assert filled == {"host": "a", **defaults, "proxy": {"host": "b", **defaults}}


def test_what_is_not_known_yet_passes_the_check(command: PluginClient) -> None:
    assert command.failures({"connection": UNKNOWN, "create": UNKNOWN, "triggers": [UNKNOWN]}) == {}
    assert command.failures({"connection": {"host": UNKNOWN, "hostKey": Secret(UNKNOWN)}, "stdin": UNKNOWN}) == {}


@pytest.mark.parametrize(
    ("given", "path", "reason"),
    [
        ({}, "connection", "missing"),
        ({"connection": {}}, "connection.host", "missing"),
        ({"connection": {"host": "a", "hots": "b"}}, "connection.hots", "no property called 'hots'"),
        ({"connection": {"host": "a"}, "craete": "b"}, "craete", "no property called 'craete'"),
        ({"connection": {"host": "a"}, "create": 1}, "create", "must be a string, and a number"),
        ({"connection": {"host": "a", "port": "22"}}, "connection.port", "must be a number, and a string"),
        ({"connection": {"host": "a"}, "logging": "all"}, "logging", "must be one of stdout, stderr"),
        ({"connection": {"host": "a"}, "triggers": "a"}, "triggers", "must be a list, and a string"),
        ({"connection": {"host": "a"}, "environment": {"A": 1}}, "environment.A", "must be a string"),
    ],
)
def test_an_input_that_is_unknown_or_of_the_wrong_type_is_refused(
    command: PluginClient, given: dict[str, object], path: str, reason: str
) -> None:
    failures = command.failures(given)
    assert list(failures) == [path]
    assert reason in failures[path]


def test_a_type_that_is_not_served_is_refused_with_the_remedy(command: PluginClient) -> None:
    with pytest.raises(grpc.RpcError) as error:
        command.of("command:local:Command").check({})
    assert "command:local:Command is not served by this stand-in" in refused(error)
    assert "install the official plugin" in refused(error)


def test_sixteen_commands_run_at_once(command: PluginClient, sshd: Sshd, tmp_path: Path) -> None:
    # Each waits for all the others: one after the other they would never end.
    script = f"touch {tmp_path}/$$; while test $(ls {tmp_path} | wc -l) -lt 16; do sleep 0.05; done; echo all"
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(command.create(inputs(sshd, create=script))[1]["stdout"]))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == ["all"] * 16
