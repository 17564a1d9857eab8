"""The outputs of a stack that runs with mocks, as a file for review."""

import asyncio
import json
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pulumi

from .recording import record

KUBERNETES = ("kubeadm", "kubeadm_files", "kubeadm_script", "kubeadm_cloud_init", "cluster_api")
"""Outputs for Kubernetes, without what else begins with the last."""
_BASE64 = re.compile(r'(?<=")[\w+/=]{60,}(?=")')
_PEM = re.compile(r"-----BEGIN (CERTIFICATE|PRIVATE KEY)----- of ([\w-]+)")


def resolved(build: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], set[str]]:
    """The outputs that `build` returns, after an update with mocks; and the names of the secret ones."""
    values: dict[str, Any] = {}
    secret: set[str] = set()

    async def keep(name: str, output: pulumi.Output[Any]) -> None:
        values[name] = await output.future()
        if await output.is_secret():
            secret.add(name)

    async def program() -> None:
        outputs = {name: pulumi.Output.from_input(each) for name, each in build().items()}
        await asyncio.gather(*(keep(name, output) for name, output in outputs.items()))

    record(program, False)
    return values, secret


def for_kubernetes(values: dict[str, Any], secret: set[str]) -> dict[str, Any]:
    """The names of all outputs, and what Kubernetes reads: line by line, and mock certificates and keys by name."""
    shown = {name: value for name, value in values.items() if name.startswith(KUBERNETES)}
    return {
        "outputs": {name: "secret" if name in secret else "" for name in sorted(values)},
        **{name: _lines(_plain(value)) for name, value in shown.items()},
    }


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=2)
    text = _BASE64.sub(lambda found: b64decode(found[0]).decode(), text)
    return _PEM.sub(lambda found: f"({found[1].rpartition(' ')[2].lower()} of {found[2]})", text)


def _lines(text: str) -> list[str]:
    return text.splitlines()
