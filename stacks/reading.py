"""Reads the raw configuration by the table of keys: checks types, required and unknown keys, but not meaning."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.plan import known_flags
from components.plan.errors import Problem, did_you_mean, shown
from components.plan.timers import AUTO

from .key_table import BOOLEAN, INTEGER, INTEGER_OR_AUTO, LIST, MAP, OBJECT, TEXT, TEXTS, Key, Table

_SECRET = "a secret (not shown)"  # noqa: S105
_WANTED = {
    TEXT: "a text; quote it in YAML if it looks like a number",
    INTEGER: "a whole number",
    INTEGER_OR_AUTO: "a whole number, or auto",
    BOOLEAN: "true or false",
    TEXTS: "a list of texts, each after a dash",
    OBJECT: "an object: keys and values, indented below it",
    LIST: "a list of objects, each after a dash",
    MAP: "an object of names and texts",
}


class Reading:
    """A configuration with typed values, and its problems.

    Args:
        table: all keys.
        stack: name of the stack, the default name of the cluster.
        values: key -> text from Pulumi: scalars as they are, everything else as JSON.
        directory: base of relative paths.
        settings: settings besides the program's keys: full keys of providers, the environment.
    """

    given: dict[str, Any]
    """The typed values, without wrong ones."""
    problems: list[Problem]
    """All problems; later checks of the values add theirs."""

    def __init__(
        self, table: Table, stack: str, values: Mapping[str, str], directory: Path, settings: Mapping[str, str]
    ) -> None:
        self.table = table
        self.settings = settings
        self.problems = []
        self._directory = directory
        decoded = {name: _decode(text, table.by_path.get(name)) for name, text in values.items()}
        self.given = self._read_object(decoded, "", "")
        self.cluster: str = self.given.get("clusterName", stack)

    def path(self, given: str) -> Path:
        """The path of a file that the configuration names."""
        return self._directory / Path(given).expanduser()

    def refuse(self, key: str, value: str, rule: str, remedy: str) -> None:
        """Notes a problem."""
        self.problems.append(Problem(key, value, rule, remedy))

    def refused(self, *keys: str) -> bool:
        """Whether there is a problem with one of these keys."""
        return any(problem.key in keys for problem in self.problems)

    def add(self, problems: list[Problem]) -> None:
        """Notes problems, except at keys that already had one before this call."""
        known = {problem.key for problem in self.problems}
        self.problems += [problem for problem in problems if problem.key not in known]

    def file(self, document: object, key: str, at: str) -> list[Any] | None:
        """The list at the only key of a file's document; None, with a problem noted, if there is none."""
        if not isinstance(document, dict) or key not in document:
            rule = f"The file must contain an object with the key {key}"
            self.refuse(at, _kind(document), rule, "See docs/reference.md")
            return None
        self.problems += [_unknown(f"{at}: {name}", name, [key]) for name in document if name != key]
        found = self._read_value(document[key], self.table.by_path[key], f"{at}: {key}")
        return found if isinstance(found, list) else None

    def _read_object(self, given: Mapping[str, Any], path: str, at: str) -> dict[str, Any]:
        keys = {key.name: key for key in self.table.below(path)}
        prefix = f"{at}." if at else ""
        found = {}
        for name, value in given.items():
            if name not in keys:
                self.problems.append(_unknown(f"{prefix}{name}", name, list(keys)))
            else:
                typed = self._read_value(value, keys[name], f"{prefix}{name}")
                if typed is not None:
                    found[name] = typed
        for name, key in keys.items():
            if key.required and name not in given:
                self.refuse(f"{prefix}{name}", "nothing", "This key is required", f"Set it: {key.meaning}")
        return found

    def _read_value(self, value: Any, key: Key, at: str) -> Any:  # noqa: PLR0911  a table of types
        if key.type == OBJECT and isinstance(value, dict):
            return self._read_object(value, key.path, at)
        if key.type == LIST and isinstance(value, list):
            return self._read_list(value, key, at)
        if key.type == MAP and isinstance(value, dict):
            return self._read_map(value, at)
        if key.type == TEXTS and isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        if key.type == BOOLEAN and str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        if key.type == TEXT and isinstance(value, str) and (value.strip() or not key.required):
            return value
        if key.type == INTEGER_OR_AUTO and value == AUTO:
            return value
        whole = not isinstance(value, bool) and re.fullmatch(r"-?\d{1,9}", str(value), re.ASCII)
        if key.type in (INTEGER, INTEGER_OR_AUTO) and whole:
            return int(value)
        simple = key.type in (TEXT, INTEGER, INTEGER_OR_AUTO, BOOLEAN) and not isinstance(value, (dict, list))
        given = _SECRET if self.table.holds_secret(key.path) else shown(value) if simple else _kind(value)
        self.refuse(at, given, f"It must be {_WANTED[key.type]}", f"Set it: {key.meaning}")
        return None

    def _read_list(self, value: list[Any], key: Key, at: str) -> list[Any] | None:
        items = []
        for index, item in enumerate(value):
            if isinstance(item, dict):
                items.append(self._read_object(item, f"{key.path}[]", f"{at}[{index}]"))
            else:
                self.refuse(f"{at}[{index}]", _kind(item), f"It must be {_WANTED[OBJECT]}", "See docs/reference.md")
        # Without an item, the list would be counted wrongly.
        return items if len(items) == len(value) else None

    def _read_map(self, value: Mapping[str, Any], at: str) -> dict[str, str]:
        found = {}
        for name, item in value.items():
            if isinstance(item, bool):
                found[name] = "true" if item else "false"
            elif isinstance(item, (str, int)):
                found[name] = str(item)
            else:
                self.refuse(
                    f"{at}.{name}", _kind(item), "It must be a text, a whole number, true or false", "Change it"
                )
        return found


def _decode(text: str, key: Key | None) -> object:
    """A top-level value, decoded like a nested one."""
    if key is None or key.type == TEXT or not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unknown(at: str, name: str, known: list[str]) -> Problem:
    # The value is not shown: at a mistyped key it may be a secret.
    flag = re.sub("([A-Z])", r"-\1", name).lower()
    of_etcd = "flags" in known and any(flag in each for each in known_flags.FLAGS.values())
    remedy = did_you_mean(name, known) or (
        f"It is a flag of etcd: set `{flag}` in `flags`" if of_etcd else f"Use one of {', '.join(known)}"
    )
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
