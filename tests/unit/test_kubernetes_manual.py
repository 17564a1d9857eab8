"""docs/kubernetes.md: a test uses every block, and what it names exists. Those of tests/lab run the commands."""

import ast
import functools
import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from components.kubernetes import kubeadm
from stacks.keys import table
from stacks.platforms import PLATFORMS
from tests.support.manual import kubernetes_manual
from tests.support.snapshot import DIRECTORY
from tests.unit.test_config_hetzner import hetzner
from tests.unit.test_kubernetes_outputs import ENDPOINTS
from tests.unit.test_readme import REPO
from tools.cluster_api import TEMPLATE, ensure_cluster_api
from tools.kubeadm import ensure_kubeadm

MANUAL = (REPO / "docs" / "kubernetes.md").read_text(encoding="utf-8")
OUTPUTS = {
    each.name: json.loads((DIRECTORY / f"outputs-{each.name}.json").read_text())["outputs"] for each in PLATFORMS
}
ALL_OUTPUTS = {name for each in OUTPUTS.values() for name in each}
TABLE = table(PLATFORMS)
NOT_RUN = "# not run by a test: "

Block = tuple[str, int, str]
"""Title of its section, number among those of its language there, language."""


def blocks() -> dict[Block, str]:
    """All blocks of the manual."""
    found: dict[Block, str] = {}
    counted: Counter[tuple[str, str]] = Counter()
    for part in re.finditer(
        r"^#+ (?P<title>[^\n]*)|^```(?P<language>\w+)\n(?P<text>.*?)^```", MANUAL, re.M | re.DOTALL
    ):
        if part["title"]:
            title = part["title"]
        else:
            found[title, counted[title, part["language"]], part["language"]] = part["text"]
            counted[title, part["language"]] += 1
    return found


@functools.cache
def used(folder: str) -> set[Block]:
    """The blocks for which the tests in a folder ask."""
    found = set()
    texts = [path.read_text() for path in (REPO / "tests" / folder).glob("*.py")]
    for text in texts:
        for call in ast.walk(ast.parse(text if "kubernetes_manual" in text else "")):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "kubernetes_manual":
                title, number, *language = [ast.literal_eval(argument) for argument in call.args]
                found.add((title, number, *(language or ["sh"])))
    return found


def texts(language: str) -> list[str]:
    return [text for (*_, each), text in blocks().items() if each == language]


def test_a_test_uses_every_block() -> None:
    assert len(blocks()) >= 20
    assert blocks().keys() == used("lab") | used("unit") | used("components")


def test_a_test_runs_every_command_except_those_that_say_so() -> None:
    commands = {block: text for block, text in blocks().items() if block[2] == "sh"}
    assert {block for block, text in commands.items() if not text.startswith(NOT_RUN)} == {
        block for block in used("lab") if block[2] == "sh"
    }


def test_the_commands_that_no_test_runs_can_be_executed(tmp_path: Path) -> None:
    """By stand-ins, which tell how they were called."""
    for name in ("clusterawsadm", "clusterctl", "hcloud", "kubectl", "pulumi"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" | tee -a {tmp_path}/called\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "management.kubeconfig").touch()
    (tmp_path / "examples/cluster-api-aws").mkdir(parents=True)
    network = kubernetes_manual("Cluster API on Hetzner Cloud", 0)
    program = kubernetes_manual("Your own Pulumi program", 0)
    lines = [kubernetes_manual("Cluster API on AWS", 0), "env | grep ^AWS_B64", network]
    lines += [program.replace("< management", "< ../../management")]
    said = subprocess.run(
        ["bash", "-euc", "\n".join(lines)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=10,
        check=True,
    ).stdout
    assert "AWS_B64ENCODED_CREDENTIALS=clusterawsadm bootstrap credentials encode-as-profile\n" in said
    assert "\nclusterctl init --infrastructure aws\n" in said
    shown = yaml.safe_load(kubernetes_manual("Cluster API on Hetzner Cloud", 0, "yaml"))
    name, network_range = (
        shown["external-etcd:clusterApi"]["clusterName"],
        shown["external-etcd:hetzner"]["networkRange"],
    )
    label = f"--label caph-cluster-{name}=owned --enable-protection delete"
    assert f"\nhcloud network create --name {name} --ip-range {network_range} {label}\n" in said
    assert f"\nhcloud network describe {name} -o format={{{{.ID}}}}\n" in said
    source = (REPO / "examples/cluster-api-aws/__main__.py").read_text()
    required = set(re.findall(r"config\.require(?:_secret)?\(\"(\w+)\"\)", source))
    assert set(re.findall(r"^pulumi config set (?:--secret )?(\w+)", said, re.MULTILINE)) == required


def test_what_is_added_to_the_configuration_of_kubeadm_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    added = kubernetes_manual("kubeadm", 0, "yaml")
    file.write_text(kubeadm.cluster_configuration(ENDPOINTS) + added)
    assert yaml.safe_load(file.read_text())["networking"]
    command = [str(ensure_kubeadm()), "config", "validate", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_every_output_in_a_program_exists() -> None:
    named = set(re.findall(r"require_output\(\"(\w+)\"\)", MANUAL))
    assert {"cluster_api", "kubeadm_script"} == named <= ALL_OUTPUTS


@pytest.mark.parametrize("platform", OUTPUTS)
def test_every_output_is_described(platform: str) -> None:
    documents = [REPO / "README.md", REPO / "docs" / f"{platform}.md", REPO / "docs" / "operations.md"]
    text = "".join(path.read_text() for path in documents if path.exists())
    assert [name for name in OUTPUTS[platform] if f"`{name}`" not in text] == []


def test_a_stack_sets_the_version_of_kubernetes() -> None:
    assert "kubernetesVersion" in TABLE.by_path
    assert [*yaml.safe_load(kubernetes_manual("Which versions", 0, "yaml"))] == ["external-etcd:kubernetesVersion"]


def test_the_stack_on_hetzner_is_valid() -> None:
    shown = yaml.safe_load(kubernetes_manual("Cluster API on Hetzner Cloud", 0, "yaml"))
    values = {name.removeprefix("external-etcd:"): value for name, value in shown.items()}
    stack = hetzner(values.pop("hetzner"), **values)
    assert stack.plan.addresses == {slot["name"]: slot["address"] for slot in shown["external-etcd:hetzner"]["slots"]}


def test_the_version_for_aws_is_that_of_the_providers_template() -> None:
    shown = yaml.safe_load(kubernetes_manual("Cluster API on AWS", 0, "yaml"))["external-etcd:clusterApi"]
    [template] = [path for path in ensure_cluster_api() if path.name == TEMPLATE]
    assert f"apiVersion: controlplane.cluster.x-k8s.io/{shown['apiVersion']}\n" in template.read_text()
