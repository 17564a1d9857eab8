"""The stand-in for the plugin `command`: commands on machines over SSH."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .schema import Field
from .server import Call, Plugin, Resource
from .wire import UNKNOWN, plain

VERSION = "1.2.1"

_BASE: Mapping[str, Field] = {
    "host": Field(required=True),
    "user": Field(default="root"),
    "port": Field("number", default=22),
    "privateKey": Field(secret=True),
    "privateKeyPassword": Field(secret=True),
    "password": Field(secret=True),
    "agentSocketPath": Field(),
    "dialErrorLimit": Field("integer", default=10),
    "perDialTimeout": Field("integer", default=15),
    "hostKey": Field(),
}


class Command(Resource):
    """`command:remote:Command`."""

    fields: Mapping[str, Field] = {
        "connection": Field(
            "object", required=True, secret=True, fields={**_BASE, "proxy": Field("object", fields=_BASE)}
        ),
        "create": Field(),
        "update": Field(),
        "delete": Field(),
        "stdin": Field(),
        "environment": Field("map", item=Field()),
        "triggers": Field("list", item=Field("any"), replaces=True),
        "logging": Field(choices=("stdout", "stderr", "stdoutAndStderr", "none")),
        "addPreviousOutputInEnv": Field("boolean"),
    }

    def create(self, call: Call, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Run `create`."""
        state = {**inputs, "stdout": "", "stderr": ""}
        return call.name + os.urandom(4).hex(), self._run(call, inputs.get("create"), state)

    def update(self, call: Call, state: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        """Run `update`, or else `create` again."""
        old = {name: state.get(name, "") for name in ("stdout", "stderr")}
        return self._run(call, inputs.get("update", inputs.get("create")), {**inputs, **old})

    def delete(self, call: Call, state: dict[str, Any]) -> None:
        """Run `delete`, if there is one, over the connection that the state remembers."""
        if "delete" in state:
            self._run(call, state["delete"], state)

    def _run(self, call: Call, command: Any, state: dict[str, Any]) -> dict[str, Any]:
        if call.preview:
            return {**state, "stdout": UNKNOWN, "stderr": UNKNOWN}
        if command is None:
            return state
        from .remote import run  # noqa: PLC0415 (a preview never needs it)

        values = plain(state)
        previous = {}
        if values.get("addPreviousOutputInEnv", True):
            names = {"PULUMI_COMMAND_STDOUT": values["stdout"], "PULUMI_COMMAND_STDERR": values["stderr"]}
            previous = {name: value for name, value in names.items() if value}
        logged = values.get("logging", "stdoutAndStderr")
        stdout, stderr = run(
            call,
            values["connection"],
            plain(command),
            stdin=values.get("stdin", ""),
            environment=values.get("environment", {}),
            previous=previous,
            show=(logged in ("stdout", "stdoutAndStderr"), logged in ("stderr", "stdoutAndStderr")),
        )
        return {**state, "stdout": stdout, "stderr": stderr}


plugin = Plugin("command", VERSION, {"command:remote:Command": Command()})
