"""The stand-in for the plugin `command`, without machines: every command answers as in the component tests.

With this folder first in PATH, `pulumi up` ends in a second and leaves a whole state, whose later changes can be
previewed. Nothing runs on any machine.
"""

from pathlib import Path
from typing import Any

PATH = Path(__file__).parent


def main() -> None:
    """Serve it until the engine ends."""
    from lab.plugins import start  # noqa: PLC0415 (each run of the engine starts this)

    with_plugin = start.plugin
    start.plugin = lambda name: _pretending(with_plugin(name))
    start.main()


def _pretending(plugin: Any) -> Any:
    from lab.plugins.server import Call  # noqa: PLC0415 (needs `import_lightly`)
    from lab.plugins.wire import UNKNOWN, plain  # noqa: PLC0415

    from ..answers import SFTP, health, marked  # noqa: PLC0415

    def run(call: Call, command: Any, state: dict[str, Any]) -> dict[str, Any]:
        if call.preview:
            return {**state, "stdout": UNKNOWN, "stderr": UNKNOWN}
        text = "" if command is None else str(plain(command))
        said = health(text) if call.name.endswith("-health") else f"{call.name} said"
        return {**state, "stdout": SFTP if call.name.endswith("-sftp") else marked(call.name, said), "stderr": ""}

    plugin.resources["command:remote:Command"]._run = run
    plugin.resources["command:remote:CopyToRemote"]._copy = lambda *_: None
    return plugin
