"""What the lab needs from and changes on the computer: programs, privileges, the register of labs, one sysctl."""

import contextlib
import fcntl
import ipaddress
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import LabError

RUN = Path("/run/external-etcd-lab")
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_INOTIFY_BEFORE = RUN / "inotify-before"
_INOTIFY_WANTED = 1024  # a booted machine takes 8, one with etcd 15; the usual limit of 128 allows eight machines
_PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "sysctl": "procps",
    "nft": "nftables",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "setsid": "util-linux",
    "mount": "mount",
}


def missing(*, base_is_cached: bool = False) -> str | None:
    """Why this computer cannot run a lab, in one sentence, or None."""
    if platform.system() != "Linux":
        return f"The lab needs Linux with systemd-nspawn; this is {platform.system()}. Run it in a Linux machine."
    if os.geteuid() != 0:
        return "The lab needs root to create machines, a bridge and mounts. Run it with sudo."
    absent = [name for name in _PACKAGES if not shutil.which(name) and not (name == "mmdebstrap" and base_is_cached)]
    if absent:
        packages = " ".join(sorted({_PACKAGES[name] for name in absent}))
        return f"The lab needs {', '.join(absent)}. Run `apt-get install {packages}` or your system's equivalent."
    return None


def require(*, base_is_cached: bool = False) -> None:
    """Raise LabError with what `missing` returns, unless that is None."""
    if reason := missing(base_is_cached=base_is_cached):
        raise LabError(reason)


def call(
    *argv: str, timeout: float = 30, stdin: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a program of the host.

    Raises:
        LabError: it failed (unless `check` is False) or took longer than `timeout` seconds.
    """
    try:
        # C.UTF-8: callers compare error texts, so they must not be translated.
        done = subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(argv)}` did not end within {timeout:g} s.") from None
    if check and done.returncode:
        raise LabError(f"`{' '.join(argv)}` failed: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done


@contextlib.contextmanager
def locked(path: Path, *, timeout_hint: str = "another lab command") -> Iterator[None]:
    """Hold an exclusive lock on `path`; the holder may unlink the file."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    while True:
        try:
            file = path.open("w")
        except FileNotFoundError:  # another process removed the directory
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for {timeout_hint} to finish ...", file=sys.stderr, flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                still_there = path.stat().st_ino == os.fstat(file.fileno()).st_ino
            except FileNotFoundError:
                still_there = False
            if still_there:
                yield
                return


@dataclass(frozen=True)
class Entry:
    """A lab in the register."""

    lab: str
    directory: str
    subnet: ipaddress.IPv4Network


@contextlib.contextmanager
def register() -> Iterator[None]:
    """Lock the register of labs. Entries and their bridges change only while it is locked."""
    with locked(RUN / "register.lock", timeout_hint="another lab"):
        for path in RUN.glob("eel*.json"):
            # Bridges are created while the register is locked, so an entry without one was left by a crash.
            if not (Path("/sys/class/net") / path.stem).exists():
                path.unlink(missing_ok=True)
        yield
        if not any(RUN.glob("eel*.json")):
            (RUN / "register.lock").unlink(missing_ok=True)


def tidy() -> None:
    """Remove the register's directory if it contains nothing but lock files of killed runs."""
    for path in RUN.glob("eel*.lock"):
        with contextlib.suppress(OSError), path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:  # as in `locked`
                path.unlink()
    with contextlib.suppress(OSError):
        RUN.rmdir()


def entries() -> list[Entry]:
    """All labs on this computer."""
    found = []
    for path in sorted(RUN.glob("eel*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            text = json.loads(path.read_text())
            found.append(Entry(path.stem, text["directory"], ipaddress.IPv4Network(text["subnet"])))
    return found


def enter(entry: Entry) -> None:
    """Add a lab to the register, and raise the inotify limit for its machines."""
    path = RUN / f"{entry.lab}.json"
    path.write_text(json.dumps({"directory": entry.directory, "subnet": str(entry.subnet)}) + "\n")
    now = int(_INOTIFY.read_text())
    if now < _INOTIFY_WANTED:
        if not _INOTIFY_BEFORE.exists():
            _INOTIFY_BEFORE.write_text(f"{now}\n")
        _INOTIFY.write_text(f"{_INOTIFY_WANTED}\n")


def leave(lab: str) -> None:
    """Remove a lab from the register; the last one restores the inotify limit, unless it was changed since."""
    (RUN / f"{lab}.json").unlink(missing_ok=True)
    if any(RUN.glob("eel*.json")):
        return
    with contextlib.suppress(FileNotFoundError, ValueError):
        before = int(_INOTIFY_BEFORE.read_text())
        if int(_INOTIFY.read_text()) == _INOTIFY_WANTED:
            _INOTIFY.write_text(f"{before}\n")
    _INOTIFY_BEFORE.unlink(missing_ok=True)


def taken_networks(but: str) -> dict[ipaddress.IPv4Network, str]:
    """IPv4 networks used by this computer's addresses, routes and labs, except the lab (and bridge) `but`."""
    taken: dict[ipaddress.IPv4Network, str] = {}
    for route in _ip_json("-4", "route", "show", "table", "all"):
        target = str(route.get("dst", "default"))
        device = str(route.get("dev", "?"))
        if target in {"default", "0.0.0.0/0"} or device in {but, "lo"} or route.get("type") in {"local", "broadcast"}:
            continue
        with contextlib.suppress(ValueError):
            taken[ipaddress.IPv4Network(target)] = f"a route by {device}"
    for link in _ip_json("-4", "addr", "show"):
        device = str(link.get("ifname", "?"))
        for address in link.get("addr_info", []) if device != but else []:
            with contextlib.suppress(ValueError, KeyError):
                network = ipaddress.IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False)
                taken[network] = f"an address of {device}"
    for entry in entries():
        if entry.lab != but:
            taken[entry.subnet] = f"the lab in {entry.directory}"
    return taken


def _ip_json(*argv: str) -> list[dict[str, Any]]:
    text = call("ip", "-j", *argv).stdout.strip()
    rows = json.loads(text) if text else []
    return [row for row in rows if row]


def give_to_caller(paths: Sequence[Path]) -> None:
    """Under sudo: make the calling user own `paths`, because that user runs pulumi with them."""
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if user and group and os.geteuid() == 0:
        for path in paths:
            os.chown(path, int(user), int(group))
