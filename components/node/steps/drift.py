"""What differs on this machine from what was installed: somebody has changed it, or it has failed.

`prepare` and `converge` put it right. An update in progress, or one that was interrupted, also shows as drift.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..backup import programs
from ..machine import account, metadata, nftables
from ..service import manager, release
from ..shared import files, paths, written
from ..shared.run import run
from ..shared.say import say
from ..shared.spec import SYSTEMD, Spec
from .look import differs

_WAITING = ("timers.target.wants", "sockets.target.wants")
_LONGEST = 300
"""Characters of a line."""


def found(spec: Spec) -> list[str]:
    """All that differs, one line each; hashes the installed programs, which takes some tenths of a second.

    Args:
        spec: what is installed.
    """
    others = [*_of_programs(spec), *_of_units(), *_of_the_process(spec)]
    return [*of_files(spec.data_directory), *(_shown(line) for line in others)]


def report() -> None:
    """Says which files others have changed since they were installed: this run puts them right."""
    # Another version of this program may have written it, so it is not parsed.
    raw = files.read_json(paths.INSTALLED)
    for line in of_files(str(raw.get("data_directory", ""))) if raw is not None else ():
        say(f"not as it was installed: {line}")


def _shown(line: str) -> str:
    """Targets of links and command lines are free text, and may have anything."""
    text = "".join(char if char.isprintable() else "?" for char in line)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def of_files(data_directory: str) -> list[str]:
    """Files, links, directories and the user. Data are not looked at."""
    missing = [] if account.find() else [f"the user {paths.USER} is missing"]
    data = f"{data_directory}/"
    found = {path: said for path, said in written.changed().items() if not path.startswith(data)}
    # Others may have put a program of their own there, which stays.
    theirs = [path for path in found if Path(path).parent == paths.LINKS and os.path.lexists(path)]
    return [*missing, *(_shown(f"{path} {said}") for path, said in found.items() if path not in theirs)]


def _of_programs(spec: Spec) -> list[str]:
    damaged = [str(release.directory(spec.release.version) / name) for name in release.damaged(spec.release.version)]
    if spec.backup is not None:
        damaged += programs.damaged(spec.backup)
    return [f"{path} is not what its archive had" for path in damaged]


def _of_units() -> list[str]:
    """What this program has started and what must go on."""
    wanted = [Path(path).name for path in written.load() if Path(path).parent.name in _WAITING]
    if paths.FIREWALL.exists():
        wanted += [paths.FIREWALL_UNIT, paths.FIREWALL_WATCH_UNIT]
    states = run(["systemctl", "is-active", *wanted], 20, check=False).stdout.split() if wanted else []
    said = [f"{unit} is {state}" for unit, state in zip(wanted, states) if state != "active"]
    if paths.FIREWALL.exists() and not nftables.loaded():
        said.append(f"the firewall's table {nftables.TABLE} is not in the kernel")
    if paths.METADATA_UNIT_FILE.exists() and not metadata.closed():
        said.append("the metadata service is open to all users")
    return said


def _of_the_process(spec: Spec) -> list[str]:
    service = manager.show()
    if not service.runs:
        return [f"etcd does not run ({service.active})"]
    said = [f"etcd runs with another setting: {setting}" for setting in differs(spec, service)]
    if manager.name() == SYSTEMD and service.needs_reload:
        said.append(f"systemd has not read {paths.UNIT} since it was changed (`systemctl daemon-reload`)")
    return said
