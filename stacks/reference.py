"""Writes the generated parts of docs/reference.md: `python3 -m stacks.reference`.

Configuration keys come from `stacks.keys`, arguments of components from the docstrings under their fields. A test
compares the file with what this module would write.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from .keys import KEYS, Key

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "reference.md"

# Module below components -> TypedDicts whose fields are documented.
ARGUMENTS = {
    "cluster": ("EtcdClusterArgs", "User", "Certificates"),
    "machine": ("Machine", "Ssh", "Bastion"),
    "pki": ("Authority",),
    "aws/network": ("AwsNetworkArgs", "AwsSubnet"),
    "aws/bastion": ("AwsBastionArgs",),
    "aws/machines": ("AwsMachinesArgs", "AwsSlot", "AwsVolume"),
    "hetzner/network": ("HetznerNetworkArgs",),
    "hetzner/key": ("HetznerKeyArgs",),
    "hetzner/bastion": ("HetznerBastionArgs",),
    "hetzner/machines": ("HetznerMachinesArgs", "HetznerSlot", "HetznerVolume"),
}


def generated() -> dict[str, str]:
    """Name of a generated part -> its Markdown."""
    return {"configuration": _keys(), "arguments": "\n".join(_arguments())}


def render(document: str) -> str:
    """The document with every generated part replaced by what it should be.

    Raises:
        ValueError: the document lacks the markers of a part.
    """
    for name, text in generated().items():
        begin, end = f"<!-- begin generated: {name} -->\n", f"<!-- end generated: {name} -->"
        if begin not in document or end not in document:
            raise ValueError(f"{FILE.name} has no markers for the generated part {name}")
        before, _, rest = document.partition(begin)
        document = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return document


def _keys() -> str:
    rows = [_row("Key", "Type", "Unit", "Default", "Meaning"), _row(*["---"] * 5)]
    for key in KEYS:
        meaning = f"{key.meaning} Secret." if key.secret else key.meaning
        rows.append(_row(f"`{key.path}`", key.type, key.unit or "–", _default(key), meaning))
    return "".join(rows)


def _default(key: Key) -> str:
    if key.required:
        return "required"
    # A value is code; what describes one is not.
    described = key.default in ("", "none", "empty") or re.search(r"[ `]", key.default)
    return key.default or "none" if described else f"`{key.default}`"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def _arguments() -> Iterator[str]:
    for module, names in ARGUMENTS.items():
        tree = ast.parse((ROOT / "components" / f"{module}.py").read_text(encoding="utf-8"))
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        for name in names:
            rows = "".join(_row(*cells) for cells in _fields(classes[name]))
            head = _row("Field", "Type", "Meaning") + _row(*["---"] * 3)
            yield f"### {name}\n\n{ast.get_docstring(classes[name])}\n\n{head}{rows}"


def _fields(class_: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for field, docstring in zip(class_.body, class_.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(docstring, ast.Expr):
            type_ = ast.unparse(field.annotation)
            optional = type_.startswith("NotRequired[")
            plain = type_.removeprefix("NotRequired[").removesuffix("]") if optional else type_
            meaning = " ".join(str(ast.literal_eval(docstring.value)).split())
            yield f"`{ast.unparse(field.target)}`", f"`{plain}`", meaning if optional else f"{meaning} Required."


if __name__ == "__main__":
    FILE.write_text(render(FILE.read_text(encoding="utf-8")), encoding="utf-8")
