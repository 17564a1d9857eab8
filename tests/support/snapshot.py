"""What a preview of a fresh stack would make, as a file that people review and tests compare."""

import json
import os
import re
import shlex
from typing import Any

import pytest

from .stacks import REPO, Stack

DIRECTORY = REPO / "tests" / "snapshots"
UPDATE = "UPDATE_SNAPSHOTS"
"""With this variable set, tests write the files instead of comparing with them."""
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_SHOWN = 200
# What the engine or a provider appends to a name that nobody chose.
_RANDOM = re.compile(r"-[0-9a-f]{7}$")


def taken(stack: Stack, package: str) -> dict[str, Any]:
    """URN -> what a preview says of the resource.

    Of resources of the cloud, and of what is kept for a generation, all inputs; of commands what they run; of the rest
    that they are there. What is unknown before the update says so, secrets are hidden by the preview itself.

    Args:
        stack: was never up.
        package: the cloud's.
    """
    found: dict[str, Any] = {}
    for step in json.loads(stack.preview_json())["steps"]:
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
    """Fails when this is not what the committed file `tests/snapshots/<name>.json` says."""
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
        pytest.fail(f"{UPDATE}=1 writes {path.name} anew, if this is meant:\n" + "\n".join(lines), pytrace=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in sorted(value.items()) if not _unset(name, each)}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return value.replace(_UNKNOWN, "(not known yet)")[:_SHOWN]
    return value


def _unset(name: str, value: Any) -> bool:
    """What the provider adds by itself where nothing was said; that differs between its releases."""
    return (
        name == "__defaults"
        or value in (None, [], {})
        or (value is False and name not in ("ipv6Enabled", "ipv4Enabled"))
    )


def _verb(text: str) -> str:
    """What a command does, without the program and the specification that it takes along."""
    text = text.replace(_UNKNOWN, "(not known yet)")
    found = re.search(r"--answer (\w+) '?(\w[\w-]*)?", text)
    if found is None:
        return (shlex.split(text)[-1] if "timeout " in text else text)[:_SHOWN]
    return " ".join(["etcd-node", *(part for part in found.groups() if part)])
