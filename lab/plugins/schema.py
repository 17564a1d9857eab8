"""The properties of a resource (names, types, defaults, limits), and the check of inputs against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .wire import UNKNOWN, Secret, plain

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
    "map": (dict,),
}


@dataclass(frozen=True)
class Field:
    """One property.

    Attributes:
        kind: string, number, integer, boolean, list, object (with `fields`), map (of `item`) or any.
        default: its value if it is not given; None: it stays absent.
        secret: the engine must treat it as a secret, even if the program does not.
        replaces: a change replaces the resource.
        item: the entries of a list or map.
        fields: the properties of an object.
        choices: the allowed values; empty: any.
        minimum: of a number.
        rule: further check of a known value; returns None, or what is wrong with it.
    """

    kind: str = "string"
    required: bool = False
    default: Any = None
    secret: bool = False
    replaces: bool = False
    item: Field | None = None
    fields: Mapping[str, Field] | None = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    rule: Callable[[Any], str | None] | None = None


@dataclass(frozen=True)
class Failure:
    """A rejected input: the path of the property, and the reason."""

    path: str
    reason: str


def check(fields: Mapping[str, Field], inputs: Mapping[str, Any]) -> list[Failure]:
    """All errors in `inputs`; unknown values are always accepted."""
    return _check_fields(fields, inputs, "")


def official(failures: list[Failure]) -> list[Failure]:
    """The same, with the remedy for what only the official plugin has."""
    remedy = "this stand-in has only what the components use; for anything else install the official plugin"
    return [Failure(failure.path, f"{failure.reason}; {remedy}") for failure in failures]


def _check_fields(fields: Mapping[str, Field], inputs: Mapping[str, Any], prefix: str) -> list[Failure]:
    failures = []
    for name in inputs:
        if name not in fields and not name.startswith("__") and not (prefix == "" and name == "version"):
            known = ", ".join(sorted(fields))
            failures.append(Failure(prefix + name, f"there is no property {name!r}; there are: {known}"))
    for name, field in fields.items():
        value = inputs.get(name)
        # A secret null counts as null too: the engine sends it for the outputs of a failed step.
        if plain(value) is not None:
            failures += _check_value(field, value, prefix + name)
        elif field.required:
            failures.append(Failure(prefix + name, "missing: this property is required"))
    return failures


def _check_value(field: Field, value: Any, path: str) -> list[Failure]:
    value = plain(value)
    if value is UNKNOWN or field.kind == "any":
        return []
    wanted = _KINDS[field.kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and field.kind != "boolean"):
        return [Failure(path, f"must be {_article(field.kind)}, and {_given(value)} was given")]
    if isinstance(value, dict):
        if field.fields is not None:
            return _check_fields(field.fields, value, path + ".")
        return [failure for key, entry in value.items() for failure in _check_entry(field, entry, f"{path}.{key}")]
    if isinstance(value, list):
        return [failure for at, entry in enumerate(value) for failure in _check_entry(field, entry, f"{path}[{at}]")]
    return [Failure(path, reason) for reason in _reasons(field, value)]


def _check_entry(field: Field, entry: Any, path: str) -> list[Failure]:
    return [] if field.item is None or entry is None else _check_value(field.item, entry, path)


def _reasons(field: Field, value: Any) -> list[str]:
    reasons = []
    if field.choices and value not in field.choices:
        reasons.append(f"must be one of {', '.join(field.choices)}, and {value!r} was given")
    if field.kind == "integer" and value != int(value):
        reasons.append(f"must be a whole number, and {value!r} was given")
    if field.minimum is not None and value < field.minimum:
        reasons.append(f"must be at least {field.minimum}, and {int(value)} was given")
    wrong = None if field.rule is None else field.rule(value)
    return [*reasons, wrong] if wrong else reasons


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _given(value: Any) -> str:
    # Never the value: it may be a secret.
    names = {str: "a string", bool: "a boolean", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def with_defaults(fields: Mapping[str, Field], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """`inputs` with the defaults of absent properties, at any depth, and with the required secret marks."""
    complete = dict(inputs)
    for name, field in fields.items():
        value = complete.get(name)
        if value is None and field.default is not None:
            value = field.default
        given = value.value if isinstance(value, Secret) else value
        if field.fields is not None and isinstance(given, dict):
            inner = with_defaults(field.fields, given)
            value = Secret(plain(inner)) if isinstance(value, Secret) else inner
        if field.item is not None and field.item.fields is not None and isinstance(given, list):
            entries = [with_defaults(field.item.fields, entry) if isinstance(entry, dict) else entry for entry in given]
            value = Secret(plain(entries)) if isinstance(value, Secret) else entries
        if value is not None:
            complete[name] = Secret(plain(value)) if field.secret else value
    return complete
