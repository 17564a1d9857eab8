"""Labels and label selectors, by the rules of the API's documentation."""

import re
from collections.abc import Callable, Mapping

from .errors import invalid

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_PREFIX = r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_KEY = re.compile(rf"(?:(?P<prefix>{_PREFIX})/)?{_NAME}")
_VALUE = re.compile(rf"(?:{_NAME})?")
_TERM = re.compile(
    r"\s*(?:(?P<no>!)\s*(?P<absent>[^\s=!,()]+)"
    r"|(?P<key>[^\s=!,()]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[^\s=!,()]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)

Selector = Callable[[Mapping[str, str]], bool]


def check(labels: object) -> dict[str, str]:
    """Labels of a request.

    Raises:
        ApiError: `invalid_input`.
    """
    if not isinstance(labels, dict):
        raise invalid("labels", "must be an object")
    for key, value in labels.items():
        match = _KEY.fullmatch(key)
        prefix = match["prefix"] if match else None
        if not match or len(prefix or "") > 253 or prefix == "hetzner.cloud":
            raise invalid("labels", f"the label key '{key}' is not valid")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise invalid("labels", f"the value of the label '{key}' is not valid")
    return dict(labels)


def selector(text: str) -> Selector:
    """The test that a label selector stands for.

    Raises:
        ApiError: `invalid_input`.
    """
    tests: list[Selector] = []
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        key = match and (match["absent"] or match["key"])
        if not match or not key or not _KEY.fullmatch(key):
            raise invalid("label_selector", f"'{text}' is no label selector")
        tests.append(_test(match, key))
        position = match.end()
    if not tests:
        raise invalid("label_selector", "is empty")
    return lambda labels: all(test(labels) for test in tests)


def _test(match: re.Match[str], key: str) -> Selector:
    if match["no"]:
        return lambda labels: key not in labels
    if match["set"]:
        values = {value.strip() for value in match["values"].split(",")}
        wanted = match["set"] == "in"
        return lambda labels: (labels.get(key) in values) == wanted
    if match["op"] == "!=":
        return lambda labels: labels.get(key) != match["value"]
    if match["op"]:
        return lambda labels: labels.get(key) == match["value"]
    return lambda labels: key in labels
