"""The components as a wheel: built, installed into its own environment, imported as external_etcd."""

import email
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from lab.engine import environment
from tests.components.test_cloud_previews import AMI, NOBODY, OFFLINE
from tests.support.sshd import new_key
from tests.support.stacks import Stack
from tests.support.wheel import REPO, installed_wheel

EXAMPLES = REPO / "examples"
PRIVATE_KEY, PUBLIC_KEY = new_key()
VERSION = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
# Example -> its project, its configuration, and types of resources that its preview creates.
LIBRARIES: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "library": (
        "etcd-in-my-own-program",
        {
            "machines": [{"name": f"etcd-{n}", "address": f"10.0.0.1{n}", "host_key": PUBLIC_KEY} for n in (1, 2, 3)],
            "ssh_key": PRIVATE_KEY,
        },
        {"command:remote:Command", "tls:index/locallySignedCert:LocallySignedCert"},
    ),
    "library-hetzner": (
        "etcd-on-hetzner",
        {"operators": ["203.0.113.7/32"], **OFFLINE["hetzner"]},
        {"hcloud:index/server:Server", "hcloud:index/firewall:Firewall", "command:remote:Command"},
    ),
    "library-aws": (
        "etcd-on-aws",
        {"operators": ["203.0.113.7/32"], "ami": AMI, "aws:region": "eu-central-1", **OFFLINE["aws"]},
        {"aws:ec2/instance:Instance", "aws:ec2/vpc:Vpc", "command:remote:Command"},
    ),
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_wheel(tmp_path_factory.mktemp("wheel"))


def _run(python: Path, code: str, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_the_wheel_is_imported_as_external_etcd_from_anywhere(python: Path, tmp_path: Path) -> None:
    code = (
        "import external_etcd, sys; print(external_etcd.__file__, *external_etcd.__all__, 'components' in sys.modules)"
    )
    said = _run(python, code, tmp_path)
    assert str(python.parent.parent) in said
    assert "EtcdCluster" in said
    assert said.rstrip().endswith("False")


def test_the_wheel_ships_the_same_etcd_node(python: Path, tmp_path: Path) -> None:
    digest = "from {} import bundle; print(bundle.digest(), len(bundle.program()))"
    assert _run(python, digest.format("external_etcd"), tmp_path) == _run(
        Path(sys.executable), digest.format("components"), REPO
    )


def test_the_wheel_is_marked_as_typed(python: Path, tmp_path: Path) -> None:
    code = "import external_etcd, pathlib; print((pathlib.Path(external_etcd.__file__).parent / 'py.typed').exists())"
    assert _run(python, code, tmp_path).strip() == "True"


def test_the_wheel_contains_every_module(python: Path, tmp_path: Path) -> None:
    files = sorted(path.relative_to(REPO / "components") for path in (REPO / "components").rglob("*.py"))
    modules = [".".join(("external_etcd", *path.with_suffix("").parts)).removesuffix(".__init__") for path in files]
    assert len(modules) > 60
    assert "external_etcd.aws.machines" in modules
    code = f"import importlib; print(sum(bool(importlib.import_module(name)) for name in {modules!r}))"
    assert int(_run(python, code, tmp_path)) == len(modules)


def test_existing_machines_need_no_cloud_sdk(python: Path, tmp_path: Path) -> None:
    code = "import external_etcd, sys; print([name for name in ('pulumi_aws', 'pulumi_hcloud') if name in sys.modules])"
    assert _run(python, code, tmp_path).strip() == "[]"


def test_the_wheel_requires_python_and_has_cloud_extras(python: Path, tmp_path: Path) -> None:
    code = "import importlib.metadata as m; print(m.distribution('external-etcd').read_text('METADATA'))"
    said = email.message_from_string(_run(python, code, tmp_path))
    # typing.NotRequired needs it.
    assert said["Requires-Python"] == ">=3.11"
    assert sorted(said.get_all("Provides-Extra", [])) == ["aws", "hetzner"]
    needed = {re.split("[<>=;]", text)[0]: text.partition(";")[2].strip() for text in said.get_all("Requires-Dist", [])}
    assert {name for name, when in needed.items() if not when} == {"pulumi", "pulumi-tls", "pulumi-command"}
    assert needed["pulumi-aws"] == 'extra == "aws"'
    assert needed["pulumi-hcloud"] == 'extra == "hetzner"'
    assert "Typing :: Typed" in said.get_all("Classifier", [])
    assert all("external-etcd" not in url for url in said.get_all("Project-URL", [])), "it has no address yet"


def test_the_wheel_has_the_command_external_etcd(python: Path, tmp_path: Path) -> None:
    preview = json.dumps({"steps": [], "diagnostics": [], "changeSummary": {}})
    script, module = [str(python.parent / "external-etcd")], [str(python), "-m", "external_etcd"]
    for command, said in (
        ([*script, "review", "-", "--stack", "prod"], "<!-- external-etcd review: prod -->\n"),
        ([*module, "review", "-", "--stack", "prod"], "<!-- external-etcd review: prod -->\n"),
        ([*script, "status", "--help"], "usage: external-etcd status"),
        ([*script, "--version"], f"external-etcd {VERSION}\n"),
    ):
        run = subprocess.run(
            command, cwd=tmp_path, input=preview, capture_output=True, text=True, timeout=60, check=True
        )
        assert run.stdout.startswith(said), command


@pytest.mark.parametrize("example", LIBRARIES)
def test_each_platforms_example_previews_with_the_wheel(python: Path, tmp_path: Path, example: str) -> None:
    project, config, made = LIBRARIES[example]
    folder = EXAMPLES / example
    files = {name: folder / name for name in ("Pulumi.yaml", "__main__.py")} | {".venv": python.parent.parent}
    environ = {**environment(tmp_path / "engine"), **NOBODY}
    stack = Stack(tmp_path / "wheel", environ, config, files, project)
    steps = json.loads(stack.preview_json())["steps"]
    # `read`: the outputs of the last update.
    assert {step["op"] for step in steps} == {"create", "read"}
    assert made <= {step["newState"]["type"] for step in steps}
    # Three members, each converged.
    assert sum(step["urn"].endswith("-converge") for step in steps) == 3
