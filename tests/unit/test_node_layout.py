"""The folders of etcd-node: each imports only from itself and the folders below it, and the index names them all."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.bundle import SOURCES

_ENTRY = re.compile(r"^ *(\w+)(?:/|\.py) +\S", re.MULTILINE)
FOLDERS = sorted(path.parent for path in SOURCES.glob("*/__init__.py"))


def index(folder: Path) -> list[str]:
    """The folders or modules in a package's docstring, in its order."""
    return _ENTRY.findall(ast.get_docstring(ast.parse((folder / "__init__.py").read_text()), clean=False) or "")


def wrong_imports(sources: Path, order: Sequence[str]) -> list[str]:
    """The imports from a folder further up, or from one verb to another, at any depth of a module."""
    wrong = []
    for path in sorted(sources.glob("*/*.py")):
        here = path.parent.name
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            above = order[: order.index(here)] if node.level == 2 else [*order, *names] if here == "verbs" else []
            wrong += [f"{here}/{path.name} imports {name}" for name in names if name in above]
    return wrong


def test_no_folder_imports_from_one_above_it() -> None:
    assert wrong_imports(SOURCES, index(SOURCES)) == []


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("shared/say.py", "from ..verbs import status"),
        ("shared/say.py", "from ..verbs.status import status"),
        ("cluster/claim.py", "def late():\n    from ..steps import join"),
        ("verbs/status.py", "from .health import health"),
        ("verbs/status.py", "from . import health"),
    ],
)
def test_an_upward_import_is_detected(tmp_path: Path, place: str, text: str) -> None:
    path = tmp_path / place
    path.parent.mkdir()
    path.write_text(f"from ..shared import paths\n{text}\n" if "shared" not in place else f"{text}\n")
    assert len(wrong_imports(tmp_path, index(SOURCES))) == 1


def test_the_index_of_the_program_names_every_folder_and_module() -> None:
    modules = [path.stem for path in SOURCES.glob("*.py") if path.stem != "__init__"]
    assert sorted(index(SOURCES)) == sorted([*modules, *(folder.name for folder in FOLDERS)])


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_the_index_of_a_folder_names_every_module(folder: Path) -> None:
    assert sorted(index(folder)) == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
