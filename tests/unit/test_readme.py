"""What the README shows is what the program takes, and what the documents point to is there."""

import ast
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

    assert [machine.name for machine in stack.machines.members] == ["etcd-1", "etcd-2", "etcd-3"]
    assert stack.cluster_api.namespace == "clusters"
    assert stack.warnings == ()


def test_every_file_that_the_documents_link_to_exists() -> None:
    for document in [REPO / "README.md", *(REPO / "docs").rglob("*.md"), *(REPO / "lab").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def _titles(document: Path) -> list[str]:
    return re.findall(r"^#+ (.*)", document.read_text(), re.MULTILINE)


def _anchor(title: str) -> str:
    """A title as a link names it: lower case, words joined by dashes, nothing but letters, digits and dashes."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_every_title_that_the_documents_link_to_exists() -> None:
    for document in [REPO / "README.md", *(REPO / "docs").rglob("*.md"), *(REPO / "lab").glob("*.md")]:
        for file, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
            target = document.parent / file if file else document
            assert anchor in map(_anchor, _titles(target)), f"{document.name} links to {file}#{anchor}"


def test_every_section_of_the_manual_that_a_message_names_exists() -> None:
    named = set()
    for source in (REPO / "components").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named |= set(re.findall(r"docs/operations\.md[^\"]{0,20}\"([^\"]+)\"", node.value))
    assert len(named) >= 3
    assert named <= set(_titles(REPO / "docs" / "operations.md"))


def test_the_table_of_changes_says_what_was_measured() -> None:
    rows = json.loads((REPO / "docs" / "benchmark-changes.json").read_text())["changes"]
    measured = []
    for row in rows:
        up, script = row["pulumi_up"], row["script"]
        gaps = [f"{up[name] * 1000:.0f} ms" for name in ("longest_gap", "longest_gap_before")]
        writes = [f"{up[name] * 1000:.1f} ms" for name in ("p99", "p99_before")]
        measured.append([f"{up['seconds']:.1f} s", f"{script['seconds']:.1f} s", *gaps, *writes])
    table = (REPO / "README.md").read_text().partition("| Change | `pulumi up` | Bare script |")[2].partition("\n\n")[0]
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert [cells[1:] for cells in shown] == measured
