"""Each platform is defined in its own folder: no other module of `stacks` names one, or loads its SDK."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.platform import Platform
from stacks.platforms import PLATFORMS

REPO = Path(__file__).resolve().parents[2]
STACKS = REPO / "stacks"
CLOUDS = [each for each in PLATFORMS if each.provider]
REGISTRATION = STACKS / "platforms.py"


def modules_of_no_platform() -> list[Path]:
    own = {STACKS / each.name for each in PLATFORMS}
    return [path for path in sorted(STACKS.rglob("*.py")) if path.parent not in own and path != REGISTRATION]


def named_in(text: str) -> Iterator[str]:
    """The platforms on which this code depends: by a comparison, an import, or (for a cloud) any word."""
    words = {each.name: each.name for each in CLOUDS} | {"hcloud": "hetzner"}
    yield from (words[word] for word in re.findall(rf"(?<![a-z])({'|'.join(words)})(?![a-z])", text.lower()))
    names = {each.name for each in PLATFORMS}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            operands = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            yield from names.intersection(str(each) for each in operands)
        elif isinstance(node, ast.ImportFrom):
            yield from names.intersection((node.module or "").split("."))
            yield from names.intersection(alias.name for alias in node.names)


def test_no_other_module_names_a_platform() -> None:
    modules = modules_of_no_platform()
    assert STACKS / "config.py" in modules
    assert STACKS / "clouds/build.py" in modules
    for path in (*modules, REPO / "__main__.py"):
        assert set(named_in(path.read_text(encoding="utf-8"))) == set(), path


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("if stack.platform == 'hosts':\n    pass", "hosts"),
        ("x = 1 if platform in ('hosts', 'other') else 2", "hosts"),
        ("from .hosts import build", "hosts"),
        ("from . import hosts", "hosts"),
        ("plan = stack.aws or stack.other", "aws"),
        ("import pulumi_hcloud", "hetzner"),
        ("key = f'hetzner.slots'", "hetzner"),
    ],
)
def test_a_chain_of_platforms_is_detected(code: str, named: str) -> None:
    assert named in named_in(code)


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda each: each.name)
def test_a_platform_is_registered_by_its_folder_with_its_own_keys(platform: Platform) -> None:
    assert platform.folder == f"stacks.{platform.name}"
    assert (STACKS / platform.name / "build.py").is_file()
    others = {key.path for each in PLATFORMS if each is not platform for key in each.keys}
    assert platform.keys
    assert not {key.path for key in platform.keys} & others


@pytest.mark.parametrize("platform", CLOUDS, ids=lambda each: each.name)
def test_a_cloud_has_all_parts_of_the_recipe(platform: Platform) -> None:
    name = platform.name
    for path in (
        f"stacks/{name}/machine_types.py",
        f"components/{name}/__init__.py",
        f"components/plan/{name}.py",
        f"docs/{name}.md",
        f"Pulumi.{name}.yaml",
        f"examples/library-{name}/__main__.py",
        f"tests/support/{name}_stacks.py",
    ):
        assert (REPO / path).is_file(), path
    assert f'"external_etcd.{name}"' in (REPO / "pyproject.toml").read_text(encoding="utf-8")


def test_a_configuration_is_read_without_any_cloud_sdk() -> None:
    code = "import sys, stacks.machine_types, stacks.guard; print(*{'pulumi_aws', 'pulumi_hcloud'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == ""
