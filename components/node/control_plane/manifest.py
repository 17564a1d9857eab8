"""The flags for etcd in the manifest of a kube-apiserver, edited as text: every other byte stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..shared.errors import NodeError

SERVERS = "--etcd-servers"
FLAGS = (SERVERS, "--etcd-cafile", "--etcd-certfile", "--etcd-keyfile")
"""The flags whose values change."""
_OVERRIDES = "--etcd-servers-overrides"
# A word of the command as kubeadm writes it: `    - --flag=value`, also in quotes.
_LINE = re.compile(
    r"""(?P<before>[ ]*-[ ]+)(?P<quote>["']?)(?P<flag>--[a-z][a-z0-9-]*)=(?P<value>[!-~]*?)"""
    r"""(?P=quote)(?P<after>[ \t]*\r?\n?)"""
)
# What YAML would not read back as it stands: quotes, escapes, references, comments, and the ends of flow collections.
_PLAIN = re.compile(r"[A-Za-z0-9_./:,@%+=\[\]-]+")
_COMMENT = re.compile(r"[ ]*#")


@dataclass(frozen=True)
class _Place:
    """Where a flag stands."""

    line: int
    match: re.Match[str]


def read(text: str) -> dict[str, str]:
    """The values of FLAGS in a manifest.

    Raises:
        NodeError: it cannot be understood, so it must not be edited.
    """
    return {flag: place.match["value"] for flag, place in _places(text).items()}


def edited(text: str, values: Mapping[str, str]) -> str:
    """The manifest with these values, flag -> value; all other text stays.

    Raises:
        NodeError: it cannot be understood, or a value cannot be written.
    """
    places, lines = _places(text), text.splitlines(keepends=True)
    for flag, value in values.items():
        if not _PLAIN.fullmatch(value):
            raise NodeError(
                f"{flag} cannot have the value {value[:200]!r} in a manifest; nothing was changed",
                "This is a mistake of external-etcd: report it.",
            )
        place = places[flag]
        found = place.match
        lines[place.line] = f"{found['before']}{found['quote']}{flag}={value}{found['quote']}{found['after']}"
    return "".join(lines)


def _places(text: str) -> dict[str, _Place]:
    lines = text.splitlines(keepends=True)
    if not any(line.strip() in ("- kube-apiserver", '- "kube-apiserver"', "- 'kube-apiserver'") for line in lines):
        raise _unclear("has no command that begins with a line `- kube-apiserver`")
    if any(_OVERRIDES in line for line in lines if not _COMMENT.match(line)):
        raise _unclear(f"has {_OVERRIDES}: some of its objects are in another etcd")
    found: dict[str, _Place] = {}
    for flag in FLAGS:
        mentions = [number for number, line in enumerate(lines) if _mentions(line, flag) and not _COMMENT.match(line)]
        if not mentions:
            raise _unclear(f"has no {flag}")
        if len(mentions) > 1:
            raise _unclear(f"has {flag} {'twice' if len(mentions) == 2 else f'{len(mentions)} times'}")
        match = _LINE.fullmatch(lines[mentions[0]])
        if match is None or match["flag"] != flag or not _PLAIN.fullmatch(match["value"]):
            raise _unclear(f"has {flag} in a form other than a line `- {flag}=VALUE`")
        found[flag] = _Place(mentions[0], match)
    return found


def _mentions(line: str, flag: str) -> bool:
    """Whether a line has the flag itself, and not only one whose name begins like it."""
    return re.search(rf"{re.escape(flag)}(?![A-Za-z0-9-])", line) is not None


def _unclear(what: str) -> NodeError:
    return NodeError(
        f"the manifest of kube-apiserver {what}; it was not changed",
        f"Write each of {', '.join(FLAGS)} once, on a line of its own, like `    - {SERVERS}=VALUE`, as kubeadm does. "
        "Wait until the API server is ready again, then run again.",
    )
