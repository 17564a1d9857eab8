"""What others have changed on the machines, as they were last asked, and what the next update puts right."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .applied import DRIFT
from .errors import Problem

_CHECK = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._+-]{0,63}", re.ASCII)
_MOST_LINES, _MOST_CHARACTERS = 6, 600
# What etcd's process shows only after a restart.
_OF_THE_PROCESS = ("etcd runs with another setting", "/etcd is not what its archive had")


def check_drift_check(text: str, path: str) -> list[Problem]:
    """What is wrong with the text that asks the machines."""
    if not text or _CHECK.fullmatch(text):
        return []
    rule = "It is 1 to 64 letters, digits and any of : . _ + -, and begins with a letter or digit"
    return [Problem(path, text, rule, "Use the date, such as 2026-11-30")]


def put_right(previous: Mapping[str, Any] | None, members: Collection[str]) -> dict[str, str]:
    """Member -> the look that found something on its machine, and what; each is put right once, by the next update.

    What was put right by earlier updates stays, so that the update after it changes nothing.

    Args:
        previous: what the last update applied; None before the first.
    """
    before = previous or {}
    kept = {name: str(text) for name, text in (before.get("put_right") or {}).items() if name in members}
    found = {name: lines for name, lines in (before.get(DRIFT) or {}).items() if lines and name in members}
    return {**kept, **{name: f"{before.get('drift_check', '')}: {_text(lines)}" for name, lines in found.items()}}


def _text(lines: Sequence[str]) -> str:
    # What stops a member comes first, so that it is never among those that are left out.
    ordered = sorted((_printable(line) for line in lines), key=lambda line: not restarts(line))
    shown = "; ".join(ordered[:_MOST_LINES])[:_MOST_CHARACTERS]
    return f"{shown}; and {len(lines) - _MOST_LINES} more" if len(lines) > _MOST_LINES else shown


def _printable(line: object) -> str:
    """It becomes a line of a preview, and one of what `prepare` reads."""
    return "".join(char if char.isprintable() else "?" for char in str(line))


def restarts(text: str) -> bool:
    """Whether etcd restarts when this is put right."""
    return any(each in text for each in _OF_THE_PROCESS)
