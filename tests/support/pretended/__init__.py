"""The stand-ins for the plugins `command` and `hcloud`, without machines and without a cloud.

With this folder first in PATH, `pulumi up` ends in seconds and leaves a whole state, whose later changes can be
previewed. Nothing runs on any machine: every command answers as in the component tests, and every resource of the cloud
exists as it was declared.
"""

import os
from pathlib import Path
from typing import Any

AUTHORITY = "PRETENDED_AUTHORITY"
"""In the environment: what the first control plane of a migration answers about its CA."""
PATH = Path(__file__).parent
_DRIFT = {
    "etcd-2-drift": '["/etc/etcd/pki/canary.crt is missing", "etcd-snapshot.timer is inactive"]',
    "etcd-3-drift": '["etcd runs with another setting: --quota-backend-bytes"]',
}
"""What others have changed on the machines of these members."""


def main() -> None:
    """Serve one of them until the engine ends."""
    from lab.plugins import start  # noqa: PLC0415 (each run of the engine starts this)

    with_plugin = start.plugin
    start.plugin = lambda name: {"command": _answering, "hcloud": _agreeing}[name](with_plugin(name))
    start.main()


def _answering(plugin: Any) -> Any:
    from lab.plugins.server import Call  # noqa: PLC0415 (needs `import_lightly`)
    from lab.plugins.wire import UNKNOWN, plain  # noqa: PLC0415

    from ..answers import SFTP, STAGED, health, marked  # noqa: PLC0415

    def run(call: Call, command: Any, state: dict[str, Any]) -> dict[str, Any]:
        if call.preview:
            return {**state, "stdout": UNKNOWN, "stderr": UNKNOWN}
        text = "" if command is None else str(plain(command))
        said = health(text) if call.name.endswith("-health") else f"{call.name} said"
        said = os.environ[AUTHORITY] if call.name.endswith("-authority") else said
        said = _DRIFT.get(call.name[-12:], "[]") if call.name.endswith("-drift") else said
        said = STAGED if call.name.endswith("-stage") else said
        return {**state, "stdout": SFTP if call.name.endswith("-sftp") else marked(call.name, said), "stderr": ""}

    plugin.resources["command:remote:Command"]._run = run
    plugin.resources["command:remote:CopyToRemote"]._copy = lambda *_: None
    return plugin


def _agreeing(plugin: Any) -> Any:
    from lab.plugins.server import Call  # noqa: PLC0415 (needs `import_lightly`)

    def pretend(resource: Any, number: int) -> None:
        real = resource.create

        def create(call: Call, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
            if call.preview:
                made: tuple[str, dict[str, Any]] = real(call, inputs)
                return made
            identity = str(number * 1000 + int.from_bytes(call.name.encode()) % 1000)
            given = {name: value for name, value in inputs.items() if not name.startswith("__")}
            return identity, {"ipv4Address": "203.0.113.9", "linuxDevice": "/dev/sdb", **given, "id": identity}

        resource.create = create

    for number, resource in enumerate(plugin.resources.values(), start=1):
        pretend(resource, number)
    return plugin
