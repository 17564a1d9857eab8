"""The stand-in for the plugin `command`: runs the components' commands on machines, and copies files, over SSH."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from .schema import Failure, Field, official
from .server import Call, Plugin, Resource
from .wire import UNKNOWN, plain

VERSION = "1.2.1"


def _no_host_key(text: str) -> str | None:
    # All keys of this type begin with the same bytes: its name again, and the length of the key.
    if re.fullmatch(r"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}(\s.*)?", text, re.DOTALL):
        return None
    return "must be one line like ssh-ed25519 AAAA..."


def _no_private_key(text: str) -> str | None:
    if re.search("-----BEGIN (OPENSSH )?PRIVATE KEY-----", text):
        return None
    return "must be an Ed25519 key in OpenSSH format or PKCS#8"


def _not_offered(wanted: bool) -> str | None:
    return "must be false" if wanted else None


_BASE: Mapping[str, Field] = {
    "host": Field(required=True),
    "user": Field(default="root"),
    "port": Field("number", default=22),
    "privateKey": Field(secret=True, rule=_no_private_key),
    "privateKeyPassword": Field(secret=True),
    "hostKey": Field(required=True, rule=_no_host_key),
    "dialErrorLimit": Field("integer", default=10, minimum=0),
    "perDialTimeout": Field("integer", default=15, minimum=1),
}
_CONNECTION = Field("object", required=True, secret=True, fields={**_BASE, "proxy": Field("object", fields=_BASE)})


class Command(Resource):
    """`command:remote:Command`."""

    fields: Mapping[str, Field] = {
        "connection": _CONNECTION,
        "create": Field(),
        "update": Field(),
        "delete": Field(),
        "stdin": Field(),
        "triggers": Field("list", item=Field("any"), replaces=True),
        "logging": Field(choices=("stderr", "stdoutAndStderr")),
        "addPreviousOutputInEnv": Field("boolean", required=True, rule=_not_offered),
    }

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        """Inputs that are wrong or not served by the stand-in."""
        return official(super().check(inputs))

    def create(self, call: Call, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Run `create`."""
        return call.name + os.urandom(4).hex(), self._run(call, inputs.get("create"), inputs)

    def update(self, call: Call, state: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        """Run `update`, else `create` again."""
        command = inputs.get("update", inputs.get("create"))
        if command is None:
            # Nothing is run; the earlier output stays.
            return {**inputs, "stdout": state.get("stdout", ""), "stderr": state.get("stderr", "")}
        return self._run(call, command, inputs)

    def delete(self, call: Call, state: dict[str, Any]) -> None:
        """Run `delete`, if there is one, over the connection in the state."""
        if "delete" in state:
            self._run(call, state["delete"], state)

    def _run(self, call: Call, command: Any, state: dict[str, Any]) -> dict[str, Any]:
        if call.preview:
            return {**state, "stdout": UNKNOWN, "stderr": UNKNOWN}
        if command is None:
            return {**state, "stdout": "", "stderr": ""}
        from .remote import run  # noqa: PLC0415 (a preview never needs it)

        values = plain(state)
        stdin, quiet = values.get("stdin", ""), values.get("logging") == "stderr"
        stdout, stderr = run(call, values["connection"], plain(command), stdin, quiet=quiet)
        return {**state, "stdout": stdout, "stderr": stderr}


class CopyToRemote(Resource):
    """`command:remote:CopyToRemote` of one file."""

    fields: Mapping[str, Field] = {
        "connection": _CONNECTION,
        "source": Field("map", required=True),
        "remotePath": Field(required=True),
    }

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        """Inputs that are wrong or not served by the stand-in."""
        source = plain(inputs.get("source"))
        if source is UNKNOWN:
            # As in this version of the official plugin.
            return [Failure("asset", "either asset or archive must be set")]
        other = [Failure("source", "must be a file")] if {"text", "uri", "assets"} & set(source or ()) else []
        return official([*super().check(inputs), *other])

    def create(self, call: Call, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Copy the file."""
        self._copy(call, inputs)
        return "" if call.preview else os.urandom(4).hex(), inputs

    def update(self, call: Call, state: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        """Copy the file again only if its content or path has changed; a new connection alone is no reason."""
        old, new = plain(state), plain(inputs)
        if (old["source"].get("hash"), old["remotePath"]) != (new["source"].get("hash"), new["remotePath"]):
            self._copy(call, inputs)
        return inputs

    def _copy(self, call: Call, inputs: dict[str, Any]) -> None:
        if not call.preview:
            from .remote import copy  # noqa: PLC0415 (a preview never needs it)

            values = plain(inputs)
            copy(call, values["connection"], values["source"]["path"], values["remotePath"])


plugin = Plugin(
    "command", VERSION, {"command:remote:Command": Command(), "command:remote:CopyToRemote": CopyToRemote()}
)
