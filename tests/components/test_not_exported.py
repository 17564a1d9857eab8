"""A program that does not export what it reads as the last update, with the real engine and pretended machines."""

from pathlib import Path
from typing import Any

import pytest

from components import EtcdCluster
from lab.engine import environment
from tests.support import pretended, recording
from tests.support.sshd import new_key
from tests.support.stacks import REPO, Stack

PROGRAM = """
import pulumi
from components import EtcdCluster, previous_update

config = pulumi.Config()


def fail(_):
    raise pulumi.RunError("a later resource fails")


async def main():
    assert await previous_update("another") is None, "an output that the program does not have"
    ssh = {"host": "192.0.2.1", "host_key": config.require("host_key"), "private_key": config.require_secret("key")}
    read = {"previous_output": "applied"} if config.get_bool("by_name") else {"previous": await previous_update()}
    cluster = EtcdCluster("etcd", {"members": [{"name": "etcd-1", "address": "192.0.2.1", "ssh": ssh}], **read})
    later = cluster.endpoints.apply(fail if config.get_bool("fails") else len)
    known = {"endpoints": cluster.endpoints, "applied": cluster.applied, "later": later}
    return {name: known[name] for name in config.require_object("exports")}


pulumi.run(main)
"""
WARNING = "An earlier update has proved this cluster healthy, but `previous` is None."


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    private, public = new_key()
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / "Pulumi.yaml").write_text("name: not-exported\nruntime: python\n")
    environ = environment(tmp_path / "engine")
    environ["PATH"] = f"{pretended.PATH}:{environ['PATH']}"
    files = {name: tmp_path / name for name in ("Pulumi.yaml", "__main__.py")}
    files |= {name: REPO / name for name in ("components", ".venv")}
    config: dict[str, Any] = {"key": private, "host_key": " ".join(public.split()[:2]), "exports": ["endpoints"]}
    return Stack(tmp_path / "stack", environ, config, files, "not-exported")


def test_a_missing_export_is_a_warning_from_the_second_update_on(stack: Stack) -> None:
    first = stack.up()
    assert WARNING not in first.text
    for by_name in (False, True):
        stack.config["by_name"] = by_name
        assert WARNING in stack.preview().text

    stack.config["exports"] = ["endpoints", "applied"]
    assert WARNING in stack.up().text
    assert WARNING not in stack.preview().text


def test_the_mocks_of_a_users_tests_may_refuse_the_look_into_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(recording._Answers, "call", refuse)
    ssh = {"host": "192.0.2.1", "host_key": "ssh-ed25519 AAAA", "private_key": "PRIVATE KEY of ssh"}
    members: list[Any] = [{"name": "etcd-1", "address": "192.0.2.1", "ssh": ssh}]
    found = recording.record(lambda: EtcdCluster("etcd", {"members": members, "previous": None}), preview=False)
    assert found.outputs["etcd"]["applied"]


def test_there_is_no_warning_after_a_first_update_that_failed_late(stack: Stack) -> None:
    """The cluster is healthy, but something else is not, and the stack has no outputs."""
    stack.config |= {"exports": ["applied", "later"], "fails": True}
    failed = stack.up(check=False)
    assert failed.code != 0
    state = stack.export()["deployment"]["resources"]
    assert next(each for each in state if each["type"] == "external-etcd:index:EtcdCluster")["outputs"]["applied"]
    assert "outputs" not in state[0], state[0]
    stack.config["fails"] = False
    assert WARNING not in failed.text + stack.up().text
