"""The README's example is valid, and the links of the documents lead somewhere."""

import ast
import itertools
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.plan.backup import DEFAULT_DRILL, DEFAULT_SCHEDULE
from tests.support.configurations import load
from tests.support.sshd import new_key

REPO = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *REPO.glob("*.md"),
    *(path for folder in ("docs", "examples", "lab", "tests") for path in (REPO / folder).rglob("*.md")),
]


def _shown(document: Path, text: str) -> dict[str, Any]:
    """The configuration of the one block in the document that has this text."""
    blocks = re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if block.lstrip().startswith(("config:", "#")) and text in block]
    shown = yaml.safe_load(found)["config"]
    return {name.removeprefix("external-etcd:"): value for name, value in shown.items()}


@pytest.fixture
def readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The README's stack for existing machines, with the key that it names."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    key = tmp_path / ".ssh" / "etcd_ed25519"
    key.write_text(new_key()[0])
    key.chmod(0o600)
    return _shown(REPO / "README.md", "external-etcd:machines")


def test_the_readmes_stack_for_existing_machines_is_valid(readme: dict[str, Any]) -> None:
    stack = load(readme, stack="production")
    assert [machine.name for machine in stack.machines.members] == ["etcd-1", "etcd-2", "etcd-3"]
    assert stack.cluster_api.namespace == "clusters"
    assert stack.warnings == ()


def test_the_manuals_snapshots_and_its_restore_from_nothing_are_valid(readme: dict[str, Any]) -> None:
    manual = REPO / "docs" / "backups.md"
    edit = {**_shown(manual, "drill: "), **_shown(manual, "external-etcd:restore")}
    edit["restore"]["identity"] = "AGE-SECRET-KEY-1" + "Q" * 58
    plan = load({**readme, **edit}, stack="anew").plan
    assert plan.restore is not None and plan.backup is not None
    assert (plan.name, plan.restore.source, plan.restore.stored) == ("production", "newest", True)
    assert (plan.backup.schedule, plan.backup.drill) == (DEFAULT_SCHEDULE, DEFAULT_DRILL)


def test_every_linked_file_exists() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def _titles(document: Path) -> list[str]:
    return re.findall(r"^#+ (.*)", document.read_text(), re.MULTILINE)


def _anchor(title: str) -> str:
    """A title's anchor: lower case, words joined by dashes, only letters, digits and dashes."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_every_linked_title_exists() -> None:
    for document in DOCUMENTS:
        for file, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
            target = document.parent / file if file else document
            assert anchor in map(_anchor, _titles(target)), f"{document.name} links to {file}#{anchor}"


def test_every_manual_section_named_in_a_message_exists() -> None:
    named = set()
    for source in (REPO / "components").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named |= set(re.findall(r"docs/(\w+\.md)[^\"]{0,20}\"([^\"]+)\"", node.value))
    assert {document for document, _ in named} >= {"kubernetes.md", "monitoring.md", "operations.md"}
    assert [each for each in named if each[1] not in _titles(REPO / "docs" / each[0])] == []


def test_the_packages_links_work_outside_the_repository() -> None:
    described = REPO / tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["readme"]
    targets = re.findall(r"\]\(([^)]+)\)", described.read_text())
    assert targets
    assert all(target.startswith("https://") for target in targets)


def _rows(document: str, head: str) -> list[list[str]]:
    """Cells of the table whose first line begins with `head`, without the first cell of each line."""
    table = (REPO / document).read_text().partition(head)[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in table.splitlines()[2:]]


def _measured(name: str) -> Any:
    return json.loads((REPO / "docs" / f"benchmark-{name}.json").read_text())


def test_the_benchmark_tables_match_the_measurements() -> None:
    changes = []
    for row in _measured("changes")["changes"]:
        up, script = row["pulumi_up"], row["script"]
        gaps = [f"{up[name] * 1000:.0f} ms" for name in ("longest_gap", "longest_gap_before")]
        writes = [f"{up[name] * 1000:.1f} ms" for name in ("p99", "p99_before")]
        changes.append([f"{up['seconds']:.1f} s", f"{script['seconds']:.1f} s", *gaps, *writes])
    creation = [
        [f"{row['pulumi_up']:.1f} s", f"{row['script']:.1f} s", f"{row['ratio']:.1f}"]
        for row in _measured("creation")["creation"]
    ]
    clouds = [[f"{row['cloud']:.1f} s", f"{row['ready']:.1f} s"] for row in _measured("clouds")["clouds"]]
    during = []
    for row in _measured("kubernetes")["changes"]:
        cells = [[row[name], row[f"{name}_rest"]] for name in ("longest_gap", "p99_writes", "p99_reads")]
        texts = [[*(f"{each * 1000:.0f} ms" for each in pair), f"{pair[0] / pair[1]:.1f}"] for pair in cells]
        during.append([*itertools.chain(*texts), f"{row['failed']:.0f}"])
    assert _rows("docs/benchmarks.md", "| Change of etcd |") == during
    assert _rows("docs/benchmarks.md", "| Change |") == changes
    assert _rows("docs/benchmarks.md", "| Members |") == creation
    assert _rows("docs/benchmarks.md", "| Cloud |") == clouds


def test_the_table_of_snapshots_matches_the_measurement() -> None:
    first, second = _measured("snapshots")["sizes"]
    rows = []
    for name in first["rows"]:
        cells: list[str] = []
        for row in (first["rows"][name], second["rows"][name]):
            gap = row["longest_gap"]
            cells += [f"{row['seconds']:.1f} s", f"{gap:.1f} s" if gap >= 1 else f"{gap * 1000:.0f} ms"]
            # During a restore a client sees an outage, and by hand there is no client.
            cells.append("–" if name.startswith("restore") else f"{row['p99'] * 1000:.0f} ms")
        rows.append(cells)
    assert _rows("docs/benchmarks.md", "| What | 200 MiB: time |") == rows


def test_the_table_of_monitoring_matches_the_measurement() -> None:
    kinds = _measured("monitoring")["kinds"]
    rows = [[f"{row['ms']:.1f} ms", f"{row['every']} s", f"{row['percent']:.3f} %"] for row in kinds.values()]
    assert _rows("docs/benchmarks.md", "| What | CPU |") == rows
    total = sum(row["percent"] for row in kinds.values())
    assert total < 0.5
    assert f"In all {total:.2f} % of one core" in (REPO / "docs" / "benchmarks.md").read_text()


def test_the_tables_of_a_migration_match_the_measurement() -> None:
    measured = _measured("migration")
    by_hand = measured["by_hand"]
    shown = [
        [f"{row['seconds']:.1f} s", f"{row['longest_gap']:.1f} s", f"{row['failed']}"]
        for row in (*measured["phases"], by_hand)
    ]
    direct = [*(f"{row['longest_gap_etcd'] * 1000:.0f} ms" for row in measured["phases"]), "–"]
    assert _rows("docs/benchmarks.md", "| Phase |") == [[*row, gap] for row, gap in zip(shown, direct, strict=True)]
    assert _rows("docs/benchmarks.md", "| Step by hand |") == [[f"{each:.1f} s"] for each in by_hand["steps"].values()]
    assert (
        f"at rest it was {measured['longest_gap_rest'] * 1000:.0f} ms" in (REPO / "docs" / "benchmarks.md").read_text()
    )
    longest = max(row["longest_gap_etcd"] for row in measured["phases"])
    told = (
        f"`join` took {measured['phases'][0]['seconds']:.0f} s, and etcd itself was never without an acknowledged write"
    )
    assert f"{told} for more than {longest:.2f} s" in (REPO / "docs" / "migration.md").read_text()


def test_the_readmes_comparison_matches_the_measurements() -> None:
    (first, *_), (setting, *_, wiped) = _measured("creation")["creation"], _measured("changes")["changes"]
    cells = _rows("README.md", "| | external-etcd |")
    shown = [(row[0], row[-1]) for row in cells]
    assert (f"{first['pulumi_up']:.1f} s", f"{first['script']:.1f} s (script)") in shown
    assert (f"{setting['pulumi_up']['seconds']:.1f} s", f"{setting['script']['seconds']:.1f} s (script)") in shown
    once = (f"one edit, {wiped['pulumi_up']['seconds']:.1f} s", f"{wiped['script']['seconds']:.1f} s (script)")
    assert once in shown
