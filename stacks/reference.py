"""Writes the generated parts of the manual: `python3 -m stacks.reference`.

Configuration keys come from `stacks.keys` and the platforms, arguments of components from the docstrings of their
fields, alerts and metrics from their tables. A test checks that the files are up to date.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from components.monitoring import manual

from .key_table import Key
from .keys import table
from .platforms import PLATFORMS

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "reference.md"
FILES = (FILE, ROOT / "docs" / "monitoring.md", ROOT / "docs" / "alerts.md")

# Modules in components whose TypedDicts are documented, before those of each cloud.
ARGUMENTS = ("cluster", "machine", "pki", "migration", "backup", "cloud_cluster")
# Modules with their base TypedDicts.
SHARED = ("machine", "first_boot", "slots", "cloud_cluster")
# TypedDicts that users do not pass.
_REQUIRED = " Required."
_INTERNAL = (
    *("Login", "CloudMachine", "ClientCertificate", "PkiMember", "EtcdPkiArgs", "EtcdMigrationArgs", "CreatedBastion"),
    *("EtcdSettings", "CloudClusterArgs", "CloudClusterSlot"),
)


def generated() -> dict[str, str]:
    """Name of a generated part -> its Markdown."""
    return {
        "configuration": _keys(),
        "arguments": "\n".join(_arguments()),
        "alerts": manual.alert_table(),
        "metrics": manual.metric_table(),
        "sections of alerts": manual.alert_sections(),
    }


def render(document: str) -> str:
    """The document with those of its generated parts up to date that it has.

    Raises:
        ValueError: the document lacks the marker at the end of a part.
    """
    for name, text in generated().items():
        begin, end = f"<!-- begin generated: {name} -->\n", f"<!-- end generated: {name} -->"
        before, there, rest = document.partition(begin)
        if not there:
            continue
        if end not in rest:
            raise ValueError(f"the generated part {name} has no marker at its end")
        document = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return document


def _keys() -> str:
    rows = [_row("Key", "Type", "Unit", "Default", "Meaning"), _row(*["---"] * 5)]
    for key in table(PLATFORMS).keys:
        meaning = f"{key.meaning} Secret." if key.secret else key.meaning
        rows.append(_row(f"`{key.path}`", key.type, key.unit or "–", _default(key), meaning))
    return "".join(rows)


def _default(key: Key) -> str:
    if key.required:
        return "required"
    # A value is formatted as code, a description is not.
    described = key.default in ("", "none", "empty") or re.search(r"[ `]", key.default)
    return key.default or "none" if described else f"`{key.default}`"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def _arguments() -> Iterator[str]:
    clouds = [each.name for each in PLATFORMS if each.provider]
    files = [path for name in clouds for path in sorted((ROOT / "components" / name).glob("*.py"))]
    shared: dict[str, ast.ClassDef] = {}
    for module in SHARED:
        shared |= _dictionaries(_path(module), shared)
    for path in [*map(_path, ARGUMENTS), *files]:
        classes = _dictionaries(path, shared)
        # First a component's arguments, then their parts.
        for name in sorted(classes.keys() - {*_INTERNAL}, key=lambda name: (not name.endswith("Args"), name)):
            # Those that are required come first.
            cells = sorted(_fields(classes[name], shared | classes), key=lambda cells: not cells[2].endswith(_REQUIRED))
            rows = "".join(_row(*each) for each in cells)
            head = _row("Field", "Type", "Meaning") + _row(*["---"] * 3)
            yield f"### {name}\n\n{ast.get_docstring(classes[name])}\n\n{head}{rows}"


def _path(module: str) -> Path:
    return ROOT / "components" / f"{module}.py"


def _dictionaries(path: Path, shared: Mapping[str, ast.ClassDef]) -> dict[str, ast.ClassDef]:
    """The TypedDicts of a module, including those that inherit from shared ones."""
    found: dict[str, ast.ClassDef] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        known = {"TypedDict", *shared, *found}
        if isinstance(node, ast.ClassDef) and known & {ast.unparse(base) for base in node.bases}:
            found[node.name] = node
    return found


def _fields(class_: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Iterator[tuple[str, str, str]]:
    for base in class_.bases:
        if ast.unparse(base) in classes:
            yield from _fields(classes[ast.unparse(base)], classes)
    for field, docstring in zip(class_.body, class_.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(docstring, ast.Expr):
            type_ = ast.unparse(field.annotation)
            optional = type_.startswith("NotRequired[")
            plain = type_.removeprefix("NotRequired[").removesuffix("]") if optional else type_
            meaning = " ".join(str(ast.literal_eval(docstring.value)).split())
            yield f"`{ast.unparse(field.target)}`", f"`{plain}`", meaning if optional else f"{meaning}{_REQUIRED}"


if __name__ == "__main__":
    for file in FILES:
        file.write_text(render(file.read_text(encoding="utf-8")), encoding="utf-8")
