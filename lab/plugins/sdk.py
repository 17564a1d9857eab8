"""What a provider's installed SDK declares about its resources.

Read from the SDK's source text, class by class: an import would take a second and more.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import threading
from functools import cache
from pathlib import Path

from .schema import Field

# Two threads that parse at once fail now and then in Python 3.11 ("recursion depth mismatch").
_PARSING = threading.Lock()
_KINDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def inputs(package: str, token: str) -> dict[str, Field]:
    """The input properties of a resource, by their names on the wire.

    Args:
        package: name of the SDK, `pulumi_hcloud`.
        token: type of the resource, `hcloud:index/networkSubnet:NetworkSubnet`.

    Raises:
        LookupError: the SDK is not installed, or has no such resource.
    """
    # Mostly the type name with Args appended, unless a nested type has that name.
    module = _module(token)
    found = re.search(r"^__all__ = \['(\w+)'", _text(package, module), re.MULTILINE)
    return _fields(package, module, found[1] if found else _kind(token) + "Args")


def outputs(package: str, token: str) -> dict[str, Field]:
    """All output properties of a resource, by their names on the wire. Arguments and errors as for `inputs`."""
    return _fields(package, _module(token), f"_{_kind(token)}State")


def settings(package: str) -> dict[str, Field]:
    """The provider's own settings. Arguments and errors as for `inputs`."""
    return _fields(package, "provider", "ProviderArgs")


def snake(name: str) -> str:
    """`ipRange` as `ip_range`."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def camel(name: str) -> str:
    """`ip_range` as `ipRange`."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _kind(token: str) -> str:
    return token.rpartition(":")[2]


def _module(token: str) -> str:
    folder, _, name = token.split(":")[1].rpartition("/")
    return snake(name) if folder in ("", "index") else f"{folder}/{snake(name)}"


@cache
def _text(package: str, module: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"{package} is not installed; install requirements.txt and try again")
    file = Path(spec.submodule_search_locations[0], module + ".py")
    if not file.exists():
        raise LookupError(f"{package} has no {module}.py")
    return file.read_text()


@cache
def _fields(package: str, module: str, name: str) -> dict[str, Field]:
    # Only the text of this class is parsed: whole modules take a tenth of a second, and in some SDKs minutes.
    found = re.search(rf"^class {re.escape(name)}:\n(?:[ ].*\n|\n)+", _text(package, module), re.MULTILINE)
    if found is None:
        raise LookupError(f"{package} has no class {name} in {module}.py")
    with _PARSING:
        tree = ast.parse(found[0])
    functions = [part for part in ast.walk(tree) if isinstance(part, ast.FunctionDef)]
    wire_names = {function.name: name for function in functions if (name := _wire_name(function))}
    nested = f"{module.rpartition('/')[0]}/_inputs".lstrip("/")
    fields = {}
    for function in functions:
        if function.name == "__init__":
            defaults = function.args.kw_defaults
            for argument, default in zip(function.args.kwonlyargs, defaults, strict=True):
                field = _field(package, nested, argument.annotation, required=default is None)
                fields[wire_names.get(argument.arg, argument.arg)] = field
    return fields


def _wire_name(function: ast.FunctionDef) -> str:
    """The name in `@pulumi.getter(name="ipRange")`, or an empty string."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call):
            for keyword in decorator.keywords:
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
    return ""


def _field(package: str, nested: str, annotation: ast.expr | None, *, required: bool = False) -> Field:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return Field("object", required, fields=_fields(package, nested, annotation.value))
    if isinstance(annotation, ast.Attribute):
        return Field(_KINDS.get(annotation.attr, "any"), required)
    if isinstance(annotation, ast.Subscript):
        name = annotation.value.attr if isinstance(annotation.value, ast.Attribute) else ast.unparse(annotation.value)
        inside = annotation.slice
        if name in ("Input", "Optional"):
            return _field(package, nested, inside, required=required)
        if name == "Sequence":
            return Field("list", required, item=_field(package, nested, inside))
        if name == "Mapping" and isinstance(inside, ast.Tuple):
            return Field("map", required, item=_field(package, nested, inside.elts[1]))
    return Field("any", required)
