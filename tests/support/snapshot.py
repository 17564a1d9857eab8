"""The resources of a new stack's preview, as a file for review that tests compare."""

import json
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

import pytest

from .stacks import REPO

DIRECTORY = REPO / "tests" / "snapshots"
UPDATE = "UPDATE_SNAPSHOTS"
"""If this variable is set, tests write the files instead of comparing them."""
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_SHOWN = 200
# The suffix of names that the engine or a provider generates.
_RANDOM = re.compile(r"-[0-9a-f]{7}$")


def taken(preview: Mapping[str, Any], package: str) -> dict[str, Any]:
    """URN -> the resource in a preview.

    It has all inputs of the cloud's resources and of what is kept for a generation, and the verbs of commands. Other
    resources are only listed. Unknown values are marked, and the preview itself hides secrets.

    Args:
        preview: output of `pulumi preview --json` for a stack that was never up.
        package: the cloud's.
    """
    found: dict[str, Any] = {}
    for step in preview["steps"]:
        if step["op"] != "create":
            continue
        state = step["newState"]
        urn, type_, inputs = step["urn"].partition("::")[2], state["type"], state.get("inputs", {})
        if type_.startswith(f"{package}:") or "-generation-" in urn:
            found[urn] = {name: _plain(value) for name, value in sorted(inputs.items()) if not _unset(name, value)}
            if "name" in found[urn]:
                found[urn]["name"] = _RANDOM.sub("-(random)", found[urn]["name"])
        elif type_.startswith("command:"):
            found[urn] = {name: _verb(inputs[name]) for name in ("create", "delete") if name in inputs}
        else:
            found[urn] = {}
        if state.get("protect"):
            found[urn]["(protected)"] = True
    return dict(sorted(found.items()))


def compare(found: dict[str, Any], name: str) -> None:
    """Fail if it differs from the committed file `tests/snapshots/<name>.json`."""
    path = DIRECTORY / f"{name}.json"
    text = json.dumps(found, indent=1) + "\n"
    assert not re.search(r"PRIVATE KEY|BEGIN |[A-Za-z0-9+/]{60}", text), "a secret, or something like one"
    if os.environ.get(UPDATE):
        DIRECTORY.mkdir(exist_ok=True)
        path.write_text(text)
    if not path.exists() or json.loads(path.read_text()) != found:
        wanted = json.loads(path.read_text()) if path.exists() else {}
        changed = [urn for urn in {**wanted, **found} if wanted.get(urn) != found.get(urn)]
        lines = [f"{urn}\n  was {wanted.get(urn)}\n  is  {found.get(urn)}" for urn in changed]
        pytest.fail(f"To accept this, set {UPDATE}=1, which writes {path.name}:\n" + "\n".join(lines), pytrace=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in sorted(value.items()) if not _unset(name, each)}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return value.replace(_UNKNOWN, "(not known yet)")[:_SHOWN]
    return value


def _unset(name: str, value: Any) -> bool:
    """A default that the provider adds; it differs between its releases."""
    return (
        name == "__defaults"
        or value in (None, [], {})
        or (value is False and name not in ("ipv6Enabled", "ipv4Enabled"))
    )


def _verb(text: str) -> str:
    """What a command does, without the program and the specification that it carries."""
    text = text.replace(_UNKNOWN, "(not known yet)")
    found = re.search(r"--answer (\w+) '?(\w[\w-]*)?", text)
    if found is None:
        return (shlex.split(text)[-1] if "timeout " in text else text)[:_SHOWN]
    return " ".join(["etcd-node", *(part for part in found.groups() if part)])
