"""docs/kubernetes.md names outputs and keys that exist, and its commands can be parsed."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from stacks.keys import table
from stacks.platforms import PLATFORMS
from tests.support.snapshot import DIRECTORY
from tests.unit.test_readme import REPO

MANUAL = (REPO / "docs" / "kubernetes.md").read_text(encoding="utf-8")
OUTPUTS = {
    name for each in PLATFORMS for name in json.loads((DIRECTORY / f"outputs-{each.name}.json").read_text())["outputs"]
}
TABLE = table(PLATFORMS)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", MANUAL, re.DOTALL)


def paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        path = prefix + name.removeprefix("external-etcd:")
        yield path
        if isinstance(value, dict):
            yield from paths(value, f"{path}.")


@pytest.mark.parametrize("document", ["README.md", "docs/kubernetes.md"])
def test_every_output_in_a_command_exists(document: str) -> None:
    named = set(re.findall(r"pulumi stack output (\w+)", (REPO / document).read_text(encoding="utf-8")))
    assert {"kubeadm", "kubeadm_script", "cluster_api"} <= named <= OUTPUTS


def test_every_output_in_a_program_exists() -> None:
    named = set(re.findall(r"require_output\(\"(\w+)\"\)", MANUAL))
    assert {"cluster_api", "kubeadm_script"} == named <= OUTPUTS


def test_every_key_in_its_configuration_exists() -> None:
    found = [path for block in blocks("yaml") if "external-etcd:" in block for path in paths(yaml.safe_load(block))]
    assert {"kubernetesVersion", "clusterApi.apiVersion", "hetzner.networkId"} <= set(found)
    assert [path for path in found if path not in TABLE.by_path] == []


def test_every_command_can_be_parsed() -> None:
    commands = blocks("sh")
    assert len(commands) >= 10
    subprocess.run(["bash", "-n"], input="\n".join(commands), text=True, timeout=10, check=True)
    for program in blocks("python"):
        ast.parse(program)
