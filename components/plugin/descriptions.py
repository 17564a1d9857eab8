"""Descriptions of types and properties for the schema, from the docstrings in the source.

The SDK's own analyzer reads those of a class, but not those of the TypedDicts that it extends.
"""

import ast
import inspect
import re
import sys
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from pulumi.provider.experimental.analyzer import PropertyDefinition


def described(
    typ: Any, properties: Mapping[str, PropertyDefinition], mapping: Mapping[str, str], known: Collection[str]
) -> None:
    """Set the description of each property; `mapping` has its name in Python. `known`: as for `in_schema`.

    Raises:
        LookupError: a property has no docstring.
    """
    found = _fields(typ.__module__, typ.__name__)
    for name, given in properties.items():
        if mapping[name] not in found:
            raise LookupError(f"{typ.__module__}.{typ.__name__}.{mapping[name]} has no docstring")
        given.description = in_schema(found[mapping[name]], known)
        # The parts of a list or map have nothing to add.
        part = given.items or given.additional_properties
        while part is not None:
            part.description = None
            part = part.items or part.additional_properties


def in_schema(text: str, known: Collection[str]) -> str:
    """A docstring for readers of another language: a paragraph is a line, with `clusterName` for `cluster_name`.

    Args:
        known: the names in Python that have another one in the schema.
    """
    # Python's exceptions do not reach other languages.
    paragraphs = [each for each in inspect.cleandoc(text).split("\n\n") if not each.startswith("Raises ")]
    return spelled("\n\n".join(" ".join(each.split()) for each in paragraphs), known)


def spelled(text: str, known: Collection[str]) -> str:
    """The text with the schema's names of arguments and outputs; `known`: those in Python."""
    return re.sub(r"[a-z]+(_[a-z0-9]+)+", lambda found: camel_case(found[0]) if found[0] in known else found[0], text)


def camel_case(name: str) -> str:
    """The schema's name of an argument."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _fields(module: str, name: str) -> dict[str, str]:
    """Field -> docstring, with those of the classes that a class extends."""
    statements = _statements(module)
    found: dict[str, str] = {}
    if name not in statements:
        return found
    statement, doc = statements[name]
    if isinstance(statement, ast.Assign):  # a TypedDict whose only field is a keyword of Python
        call = statement.value
        assert isinstance(call, ast.Call)  # noqa: S101
        fields = call.args[1]
        assert isinstance(fields, ast.Dict)  # noqa: S101
        return {ast.literal_eval(key): doc for key in fields.keys if key is not None}
    for base in statement.bases:
        kind: Any = getattr(sys.modules[module], base.id, None) if isinstance(base, ast.Name) else None
        if kind is not None:
            found |= _fields(kind.__module__, kind.__name__)
    for field, after in zip(statement.body, [*statement.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and (text := _text(after)):
            found[field.target.id] = text
    return found


@cache
def _statements(module: str) -> dict[str, tuple[ast.ClassDef | ast.Assign, str]]:
    """Name -> class or assignment of a module, and the docstring after it."""
    body = ast.parse(inspect.getsource(sys.modules[module])).body
    found: dict[str, tuple[ast.ClassDef | ast.Assign, str]] = {}
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.ClassDef):
            found[statement.name] = statement, ""
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found[statement.targets[0].id] = statement, _text(after)
    return found


def _text(statement: ast.stmt | None) -> str:
    """The text of a statement that is nothing but a text; else empty."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value)
    return ""
