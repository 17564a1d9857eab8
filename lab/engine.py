"""The Pulumi engine of the lab and the tests: which CLI, which plugins, and an isolated environment."""

import functools
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.base import ToolError, architecture
from tools.download import open_url
from tools.pulumi import ensure_pulumi

REPO = Path(__file__).resolve().parent.parent
_STAND_INS = REPO / "lab" / "plugins" / "bin"
_PLUGINS = ("command", "tls", "hcloud", "aws")
_DOWNLOADS = "https://get.pulumi.com/releases/plugins"
_INSTALL_SECONDS = 60


@dataclass(frozen=True)
class Plugin:
    """A provider plugin and where it comes from."""

    name: str
    version: str
    origin: str
    """`on PATH`, `installed`, `downloaded` or `stand-in`."""


def _cli(bin_directory: Path, *arguments: str, timeout: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"}
    return subprocess.run(
        [bin_directory / "pulumi", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@functools.cache
def _installed(bin_directory: Path) -> set[tuple[str, str]]:
    listed = _cli(bin_directory, "plugin", "ls", "--json", timeout=30)
    rows = json.loads(listed.stdout) if listed.returncode == 0 else []
    return {(row["name"], row.get("version", "")) for row in rows if row.get("kind") == "resource"}


def _download(bin_directory: Path, name: str, version: str) -> bool:
    """Let the CLI download a plugin; an unreachable server costs seconds, not the CLI's five attempts."""
    try:
        open_url(f"{_DOWNLOADS}/pulumi-resource-{name}-v{version}-linux-{architecture()}.tar.gz").close()
    except ToolError:
        return False
    try:
        return (
            _cli(bin_directory, "plugin", "install", "resource", name, version, timeout=_INSTALL_SECONDS).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


def find_plugins(bin_directory: Path, say: Callable[[str], None] = print) -> list[Plugin]:
    """Choose the official plugin wherever it is available, and the stand-in otherwise.

    Args:
        bin_directory: folder of the `pulumi` to ask.
        say: called with one line per decision.
    """
    installed = _installed(bin_directory)
    found = []
    for name in _PLUGINS:
        version = importlib.metadata.version(f"pulumi-{name}")
        if shutil.which(f"pulumi-resource-{name}"):
            origin = "on PATH"
        elif (name, version) in installed:
            origin = "installed"
        elif _download(bin_directory, name, version):
            origin = "downloaded"
        else:
            origin = "stand-in"
        remark = " of this project (the official plugin cannot be downloaded here)" if origin == "stand-in" else ""
        say(f"plugin {name} {version}: {origin}{remark}")
        found.append(Plugin(name, version, origin))
    return found


def heed_interrupts() -> None:
    """Restore the default action of SIGINT if the parent process ignores it; child processes inherit it.

    Background jobs of scripts, `nohup` and some CI systems ignore it. When the CLI ends, it interrupts plugins and
    language host, and waits 5 s in each run if they ignore the signal.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def environment(directory: Path, say: Callable[[str], None] = print) -> dict[str, str]:
    """The environment in which `pulumi` works on stacks whose state is in files below `directory`.

    The passphrase is empty, which is only fit for machines of the lab. The signal handling of the calling process
    changes, see `heed_interrupts`.
    """
    heed_interrupts()
    bin_directory = ensure_pulumi()
    stand_ins = directory / "plugins"
    shutil.rmtree(stand_ins, ignore_errors=True)
    stand_ins.mkdir(parents=True)
    missing = [plugin for plugin in find_plugins(bin_directory, say) if plugin.origin == "stand-in"]
    for plugin in missing:
        # One link per plugin: a folder with all of them would hide official plugins, since PATH comes first.
        program = f"pulumi-resource-{plugin.name}"
        (stand_ins / program).symlink_to(_STAND_INS / program)
    state = directory / "state"
    state.mkdir(exist_ok=True)
    # The virtual environment is on PATH too: language hosts of older releases look only there.
    path = [str(bin_directory), str(stand_ins), str(REPO / ".venv" / "bin"), os.environ.get("PATH", "")]
    # Otherwise the CLI looks for a plugin of every installed package, at each run.
    offline = {"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"} if missing else {}
    return {
        **offline,
        "PATH": os.pathsep.join(path),
        # Without metadata files: the CLI replaces a stack's file atomically, but not the small metadata file. If it is
        # killed in between, that file is empty and the stack does not load ("failed to load checkpoint").
        "PULUMI_BACKEND_URL": f"{state.as_uri()}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        # Otherwise each run compiles the program and every stand-in again: a fifth of a preview's time.
        "PYTHONDONTWRITEBYTECODE": "",
    }
