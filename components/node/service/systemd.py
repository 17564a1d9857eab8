"""systemctl, journalctl, and the process in /proc."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..machine import pod_process
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import until
from . import unit

_DRAIN_SECONDS = 0.5
_PROPERTIES = (
    "ActiveState",
    "SubState",
    "MainPID",
    "NRestarts",
    "Result",
    "LoadState",
    "NeedDaemonReload",
    "Job",
)


@dataclass(frozen=True)
class Service:
    """The unit as it is now."""

    active: str
    """inactive, activating, active, deactivating or failed."""
    sub: str
    pid: int
    """0 when no process runs."""
    restarts: int
    """How often systemd has restarted it by itself since it was started."""
    result: str
    loaded: bool
    needs_reload: bool
    has_job: bool
    """systemd is about to start or stop it."""

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self.pid > 0 and self.active in ("active", "activating", "reloading")


def show() -> Service:
    """One look at etcd.service."""
    said = run(["systemctl", "show", paths.UNIT, f"--property={','.join(_PROPERTIES)}"], 20).stdout
    values = dict(line.partition("=")[::2] for line in said.splitlines())
    return Service(
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        pid=int(values.get("MainPID", "0") or 0),
        restarts=int(values.get("NRestarts", "0") or 0),
        result=values.get("Result", ""),
        loaded=values.get("LoadState") == "loaded",
        needs_reload=values.get("NeedDaemonReload") == "yes",
        has_job=values.get("Job", "0") not in ("", "0"),
    )


def command_of(pid: int) -> list[str]:
    """The command line of a process; empty when it is gone.

    The program is the kernel's path, as it was started: /opt may be a link.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        program = str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return []
    if pod_process.is_etcd(pid):
        # In an image the path does not name the release.
        program = str(paths.RELEASES / f"v{variable_of(pid, pod_process.RELEASE)}" / "etcd")
        return [program, *words[1:]]
    named = words[0] if words else ""
    return [named if os.path.realpath(named) == program else program, *words[1:]]


def variable_of(pid: int, name: str) -> str:
    """A variable in the environment with which a process was started; empty when it has none, or is gone."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    return dict(word.partition("=")[::2] for word in words).get(name, "")


def alive(pid: int) -> bool:
    """Whether the process exists."""
    return pid > 0 and Path(f"/proc/{pid}").exists()


def kill(pid: int) -> None:
    """Ends a process at once; a missing process is not an error, and 0 is ignored (it would be our own group)."""
    if pid <= 0:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_gone(pid: int) -> None:
    """Waits until a stopping process is gone; until then it still answers.

    A stopping etcd accepts no new connections, and waits 7 s for its open streams. Requests end in milliseconds.
    Watches never end, and an API server always has some. So it gets half a second, and is killed: all that it has
    acknowledged is in its log.
    """
    for left in until(40, every=0.02):
        if not alive(pid):
            return
        if left < 40 - _DRAIN_SECONDS:
            kill(pid)
    raise NodeError(f"the old etcd process {pid} does not end", "See `systemctl status etcd` on the machine.")


def install(text: str, now: Service | None = None) -> None:
    """Writes and enables the unit, and reloads systemd if needed. Restarts nothing.

    A reload can be needed without a change here: an interrupted run may not have reloaded, or someone removed a
    drop-in.

    Args:
        now: the unit as it was just seen. Default: it is looked at.
    """
    new = not paths.UNIT_FILE.exists()
    changed = files.write(paths.UNIT_FILE, text)
    # What `systemctl enable` does, without its own reload of all units.
    files.directory(paths.UNIT_WANTED.parent)
    changed |= files.symlink(paths.UNIT_WANTED, paths.UNIT_FILE)
    if new:
        # Systemd reads the file of a unit that it does not know when it is asked for it. A reload reads all units, and
        # runs all generators.
        now = show()
        changed = not now.loaded
    if changed or (now or show()).needs_reload:
        run(["systemctl", "daemon-reload"], 60)


def set_up(contents: Mapping[Path, str], link: Path, *, changed: bool = False) -> bool:
    """Makes a timer or a socket run by its files, now and after a reboot; an interrupted run may have written them, and
    no more.

    Args:
        contents: file -> text: first the timer or socket, then the unit that it starts.
        link: enables it.
        changed: whether this run has changed something else that it depends on.

    Returns:
        Whether it did not run, or not by these files.
    """
    for path, text in contents.items():
        changed |= files.write(path, text)
    file = next(iter(contents))
    files.directory(link.parent)
    changed |= files.symlink(link, file)
    if not changed:
        # A template has no state of its own.
        names = [path.name for path in contents if "@." not in path.name]
        units = run(["systemctl", "show", *names, "--property=ActiveState,NeedDaemonReload"], 20).stdout
        changed = "NeedDaemonReload=yes" in units
        if not changed and "ActiveState=active" in units.partition("\n\n")[0]:
            return False
    if changed:
        run(["systemctl", "daemon-reload"], 60)
    run(["systemctl", "restart", file.name], 20)
    return True


def take_down(found: Sequence[Path], *units: str) -> None:
    """Stops these units and removes the files, if one of them is there.

    Args:
        found: first the link that enables them. It goes last: until then, the next run completes an interrupted one.
        units: stopped once more when nothing can start them again.
    """
    if not any(path.is_symlink() or path.exists() for path in found):
        return
    stop = ["systemctl", "stop", *units]
    run(stop, 20, check=False)
    for path in found[1:]:
        files.remove(path)
    run(["systemctl", "daemon-reload"], 60)
    run(stop, 20, check=False)
    files.remove(found[0])


def start() -> None:
    """Starts the unit without waiting; resets a failed unit first."""
    run(["systemctl", "reset-failed", paths.UNIT], 20, check=False)
    run(["systemctl", "start", "--no-block", paths.UNIT], 20)


def restart() -> None:
    """Stops and starts the unit without waiting."""
    run(["systemctl", "reset-failed", paths.UNIT], 20, check=False)
    run(["systemctl", "restart", "--no-block", paths.UNIT], 20)


def begin_stop() -> None:
    """Stops the unit without waiting."""
    run(["systemctl", "stop", "--no-block", paths.UNIT], 20)


def stop() -> None:
    """Stops the unit and waits until no process of it is left.

    Raises:
        NodeError: a process is still running, so its data must not be touched.
    """
    run(["systemctl", "stop", paths.UNIT], 60, check=False)
    run(["systemctl", "reset-failed", paths.UNIT], 20, check=False)
    now = show()
    if alive(now.pid) or now.active in ("active", "activating", "deactivating", "reloading"):
        raise NodeError(
            f"{paths.UNIT} could not be stopped ({now.active}, pid {now.pid})",
            f"See `systemctl status {paths.UNIT}`, then run again.",
        )


def journal() -> str:
    """The unit's last errors, else its last lines; for an error message."""
    said = run(["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "150", "-u", paths.UNIT], 20, check=False).stdout
    return "\n".join(f"  | {line}" for line in telling(said.splitlines(), 8))


def telling(log: Sequence[str], count: int) -> list[str]:
    """The lines of a log that say why etcd exited: its last errors if there are any, else its last lines.

    A wrong flag is followed by pages of usage, a crash by messages of systemd.
    """
    read = [_essence(line) for line in log if line.strip()]
    complaints = [text for level, text in read if level in ("error", "fatal", "panic", "plain")]
    return [text[:400] for text in (complaints or [text for _, text in read])[-count:]]


def _essence(line: str) -> tuple[str, str]:
    """Level and text of a line; etcd's first messages are plain text."""
    try:
        entry = json.loads(line)
        extra = entry.get("error", "")
        return entry["level"], f"{entry['level']}: {entry['msg']}{f' ({extra})' if extra else ''}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "plain" if "flag provided but not defined" in line or line.startswith(("panic:", "error ")) else "", line


_SETS = re.compile(r"""(?:^|[\s"'])(ETCD_[A-Z0-9_]+)=""")
_SET_HERE = re.compile(r"^\s*(ETCD_[A-Z0-9_]+)=")
_PASSES = re.compile(r"\bETCD_[A-Z0-9_]+")
_NO_SETTING = ("ETCD_UNSUPPORTED_ARCH",)


def foreign_variables() -> dict[str, str]:
    """Variables that etcd would read as settings, and that others set for its unit: name -> where they are set."""
    found: dict[str, str] = {}
    for directory in paths.UNIT_DIRECTORIES:
        for drop_in in sorted((directory / f"{paths.UNIT}.d").glob("*.conf")):
            text = (files.read_bytes(drop_in) or b"").decode(errors="replace").replace("\\\n", " ")
            found |= dict.fromkeys(_variables(text), str(drop_in))
    # Systemd's own, for all units (DefaultEnvironment=).
    said = run(["systemctl", "show-environment"], 20, check=False).stdout
    found |= dict.fromkeys(_SETS.findall(said), "`systemctl show-environment`")
    return {name: where for name, where in found.items() if name not in _NO_SETTING}


def _variables(text: str) -> list[str]:
    """The variables of etcd that the lines of a unit file set, or have read from a file."""
    names = []
    for key, _, value in (line.strip().partition("=") for line in text.splitlines()):
        if key.strip() == "Environment":
            names += _SETS.findall(value)
        elif key.strip() == "PassEnvironment":
            names += _PASSES.findall(value)
        elif key.strip() == "EnvironmentFile":
            for path in glob.glob(value.strip().strip("\"'").lstrip("-")):  # noqa: PTH207  an absolute pattern
                content = (files.read_bytes(Path(path)) or b"").decode(errors="replace")
                names += [name for line in content.splitlines() for name in _SET_HERE.findall(line)]
    return names


def foreign_unit() -> Path | None:
    """A unit file for etcd that this program did not write."""
    for directory in paths.UNIT_DIRECTORIES:
        path = directory / paths.UNIT
        text = files.read_bytes(path) if not path.is_dir() else None
        if text is not None and not text.startswith(unit.MARK.encode()):
            return path
    return None
