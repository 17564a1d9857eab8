"""A wrong configuration is refused by `pulumi preview`, under the real engine, before anything is reached."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.sshd import new_key
from tests.support.stacks import Run, Stacks

HOST_KEY = " ".join(new_key()[1].split()[:2])


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Stacks:
    return Stacks(tmp_path_factory.mktemp("stacks"))


def _machine(number: int, key: Path, **changes: Any) -> dict[str, Any]:
    ssh = {"user": "root", "privateKeyFile": str(key), "hostKey": HOST_KEY}
    return {"name": f"etcd-{number}", "address": f"192.0.2.{number}", "ssh": ssh, **changes}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    path.write_text(new_key()[0])
    path.chmod(0o600)
    return path


def _preview(stacks: Stacks, key: Path, *machines: dict[str, Any], **config: Any) -> Run:
    given = list(machines) or [_machine(number, key) for number in (1, 2, 3)]
    stack = stacks.new([], machines=given, **config)
    return stack.preview(check=False)


def test_a_right_configuration_is_previewed_without_reaching_any_machine(stacks: Stacks, key: Path) -> None:
    run = _preview(stacks, key)
    assert run.code == 0, run.text
    assert "to create" in run.text


def test_all_problems_are_said_at_once_each_with_key_value_rule_and_remedy(stacks: Stacks, key: Path) -> None:
    twice = _machine(2, key, address="192.0.2.1")
    run = _preview(
        stacks, key, _machine(1, key), twice, version="3.6.16", flags={"data-dir": "/elsewhere"}, quotta="2GiB"
    )
    assert run.code != 0
    for text in (
        "machines: given 2 members",
        "machines[1].address: given '192.0.2.1'",
        "flags.data-dir",
        "set `dataDirectory`",
        "quotta",
        "'quota'",
    ):
        assert text.lower() in run.text.lower(), f"{text!r} is not in:\n{run.text}"
    assert "Traceback" not in run.text
    assert "EtcdCluster" not in run.text


def test_a_version_that_does_not_exist_is_refused(stacks: Stacks, key: Path) -> None:
    run = _preview(stacks, key, version="3.8.0")
    assert run.code != 0
    assert "version: given '3.8.0'. Supported minor versions of etcd are 3.5, 3.6, 3.7." in run.text


def test_an_authority_that_does_not_match_its_key_is_refused_and_the_key_is_not_shown(
    stacks: Stacks, key: Path, own_authority: dict[str, str]
) -> None:
    other_key = new_key("ecdsa")[0]
    authority = {"name": "ours", "certificate": own_authority["certificate"], "privateKey": other_key}
    run = _preview(stacks, key, authorities=[authority])
    assert run.code != 0
    assert "authorities[0].privateKey" in run.text
    assert not any(line in run.text for line in other_key.splitlines() if len(line) > 40)
    assert json.dumps(other_key) not in run.text
