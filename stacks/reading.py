"""Reads raw configuration by the table of keys: types, required and unknown keys; says nothing about meaning."""

import json
import re
from collections.abc import Mapping
from typing import Any

from components.plan.errors import Problem, did_you_mean, shown

from .keys import BOOLEAN, BY_PATH, INTEGER, LIST, MAP, OBJECT, TEXT, TEXTS, Key, below, holds_secret

_SECRET = "a secret (not shown)"  # noqa: S105
_WANTED = {
    TEXT: "a text; quote it in YAML if it looks like a number",
    INTEGER: "a whole number",
    BOOLEAN: "true or false",
    TEXTS: "a list of texts, each after a dash",
    OBJECT: "an object: keys and values, indented below it",
    LIST: "a list of objects, each after a dash",
    MAP: "an object of names and texts",
}


def read(values: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    """The configuration with each value in its type; what is wrong or absent is left out, and is in `problems`.

    Args:
        values: key -> text as Pulumi hands it over: scalars as they are, everything else as JSON.
        problems: gets every problem found.
    """
    decoded: dict[str, Any] = {}
    for name, text in values.items():
        key = BY_PATH.get(name)
        decoded[name] = text if key is None else _decode(text, key)
    return _read_object(decoded, "", "", problems)


def read_machines(document: object, at: str, problems: list[Problem]) -> list[Any] | None:
    """The `machines` of a file's document; None when there is none, and that is in `problems`."""
    if not isinstance(document, dict) or "machines" not in document:
        problems.append(
            Problem(at, _kind(document), "The file is an object with the key machines", "See docs/reference.md")
        )
        return None
    problems += [_unknown(f"{at}: {name}", name, ["machines"]) for name in document if name != "machines"]
    found = _read_value(document["machines"], BY_PATH["machines"], f"{at}: machines", problems)
    return found if isinstance(found, list) else None


def _decode(text: str, key: Key) -> object:
    """A value of the top level in the form that a nested one has."""
    if key.type == TEXT or not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_object(given: Mapping[str, Any], path: str, at: str, problems: list[Problem]) -> dict[str, Any]:
    keys = {key.path.rpartition(".")[2]: key for key in below(path)}
    prefix = f"{at}." if at else ""
    found = {}
    for name, value in given.items():
        if name not in keys:
            problems.append(_unknown(f"{prefix}{name}", name, list(keys)))
        else:
            typed = _read_value(value, keys[name], f"{prefix}{name}", problems)
            if typed is not None:
                found[name] = typed
    for name, key in keys.items():
        if key.required and name not in given:
            problems.append(Problem(f"{prefix}{name}", "nothing", "This key is required", f"Set it: {key.meaning}"))
    return found


def _read_value(value: Any, key: Key, at: str, problems: list[Problem]) -> Any:  # noqa: PLR0911  a table of types
    if key.type == OBJECT and isinstance(value, dict):
        return _read_object(value, key.path, at, problems)
    if key.type == LIST and isinstance(value, list):
        return _read_list(value, key, at, problems)
    if key.type == MAP and isinstance(value, dict):
        return _read_map(value, at, problems)
    if key.type == TEXTS and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    if key.type == BOOLEAN and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if key.type == TEXT and isinstance(value, str) and (value.strip() or not key.required):
        return value
    if key.type == INTEGER and not isinstance(value, bool) and re.fullmatch(r"-?\d{1,9}", str(value), re.ASCII):
        return int(value)
    simple = key.type in (TEXT, INTEGER, BOOLEAN) and not isinstance(value, (dict, list))
    given = _SECRET if holds_secret(key.path) else shown(value) if simple else _kind(value)
    problems.append(Problem(at, given, f"It is {_WANTED[key.type]}", f"Set it: {key.meaning}"))
    return None


def _read_list(value: list[Any], key: Key, at: str, problems: list[Problem]) -> list[Any] | None:
    items = []
    for index, item in enumerate(value):
        if isinstance(item, dict):
            items.append(_read_object(item, f"{key.path}[]", f"{at}[{index}]", problems))
        else:
            problems.append(Problem(f"{at}[{index}]", _kind(item), f"It is {_WANTED[OBJECT]}", "See docs/reference.md"))
    # A list that lost an item would be counted wrongly.
    return items if len(items) == len(value) else None


def _read_map(value: Mapping[str, Any], at: str, problems: list[Problem]) -> dict[str, str]:
    found = {}
    for name, item in value.items():
        if isinstance(item, bool):
            found[name] = "true" if item else "false"
        elif isinstance(item, (str, int)):
            found[name] = str(item)
        else:
            problems.append(
                Problem(f"{at}.{name}", _kind(item), "It is a text, a whole number, true or false", "Give one")
            )
    return found


def _unknown(at: str, name: str, known: list[str]) -> Problem:
    # The value is not shown: behind a mistyped name it may be a secret.
    remedy = did_you_mean(name, known) or f"There are {', '.join(known)}"
    return Problem(at, shown(name), "There is no such key", remedy)


def _kind(value: object) -> str:
    for type_, name in (
        (bool, "true or false"),
        (str, "a text"),
        (int, "a number"),
        (float, "a number"),
        (list, "a list"),
    ):
        if isinstance(value, type_):
            return name
    return "nothing" if value is None else "an object"
