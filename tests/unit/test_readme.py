"""What the README shows is what the program takes."""

import json
import re
from pathlib import Path

import pytest
import yaml

from stacks import config
from tests.support.sshd import new_key

REPO = Path(__file__).resolve().parents[2]


def test_the_stack_for_ones_own_machines_is_accepted_as_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    (text,) = [block for block in blocks if "external-etcd:machines" in block]
    shown = yaml.safe_load(text)["config"]
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    key = tmp_path / ".ssh" / "etcd_ed25519"
    key.write_text(new_key()[0])
    key.chmod(0o600)

    values = {
        name.removeprefix("external-etcd:"): value if isinstance(value, str) else json.dumps(value)
        for name, value in shown.items()
    }
    stack = config.load("production", values)

    assert [machine.name for machine in stack.machines] == ["etcd-1", "etcd-2", "etcd-3"]
    assert stack.cluster_api.namespace == "clusters"
    assert stack.warnings == ()


def test_every_file_that_the_documents_link_to_exists() -> None:
    for document in [REPO / "README.md", *(REPO / "docs").rglob("*.md"), *(REPO / "lab").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
