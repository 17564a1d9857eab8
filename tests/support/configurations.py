"""Configurations of stacks for tests: each platform's example with changes, as Pulumi passes them to a program."""

import copy
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stacks import config

REPO = Path(__file__).resolve().parents[2]


@functools.cache
def _text(platform: str) -> str:
    values = yaml.safe_load((REPO / f"Pulumi.{platform}.yaml").read_text())["config"]
    own = {key.removeprefix("external-etcd:"): value for key, value in values.items() if "external-etcd:" in key}
    return json.dumps(own)


def example(platform: str) -> dict[str, Any]:
    """The program's own keys in the platform's example, without their namespace."""
    return dict(json.loads(_text(platform)))


def changed(platform: str, changes: Mapping[str, Any], **top: Any) -> dict[str, Any]:
    """The example with other values.

    Args:
        platform: whose example.
        changes: `a.b` -> value, below the platform's object; None removes it.
        top: other keys.
    """
    values = example(platform) | copy.deepcopy(top)
    for path, value in changes.items():
        *above, last = path.split(".")
        place = values[platform]
        for part in above:
            place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
        if value is not None:
            place[int(last) if last.isdigit() else last] = copy.deepcopy(value)
        elif last.isdigit():
            del place[int(last)]
        else:
            place.pop(last, None)
    return values


def load(
    values: Mapping[str, Any], directory: Path | None = None, stack: str = "dev", region: str = ""
) -> config.StackConfig:
    """The stack with this configuration.

    Args:
        values: strings are passed as they are, everything else as JSON; None is absent.
        directory: the project's. Default: none.
        stack: its name.
        region: of the provider aws. Default: unknown.
    """
    raw = {key: each if isinstance(each, str) else json.dumps(each) for key, each in values.items() if each is not None}
    return config.load(stack, raw, directory, {"aws:region": region} if region else {})
