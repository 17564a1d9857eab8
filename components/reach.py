"""Says what is wrong with the way to a machine, before pulumi-command says it in the words of its ssh library.

pulumi-command's own errors name an address and a cause; a person needs the machine, and what to do. Nothing here is
needed for safety: the host key is pinned by the connection itself.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable

import pulumi

from .aside import aside
from .machine import Ssh

_WAIT_SECONDS = 30.0
_ANSWER_SECONDS = 5.0
# Type of a host key -> what ssh-keyscan calls it.
_SCANNED = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa", "ecdsa-sha2-nistp256": "ecdsa"}


class UnreachableError(Exception):
    """There is no way to a machine. The text says which machine, why, and what to do."""


def hook(name: str, machine: str, ssh: Ssh) -> pulumi.ResourceHook:
    """A hook for the commands of one machine: fails with a remedy when the machine, or its bastion, does not answer.

    Args:
        name: unique name of the hook.
        machine: name of the slot.
        ssh: the way to it. A host or key that only the update itself finds out is not looked at.
    """
    door = ssh.get("bastion", ssh)
    what = f"{machine}'s bastion" if "bastion" in ssh else machine
    host, host_key, port = door["host"], door["host_key"], int(door.get("port", 22))
    compared = False

    async def check(_: pulumi.ResourceHookArgs) -> None:
        nonlocal compared
        if isinstance(host, str) and isinstance(host_key, str):
            # In a thread: hooks of several machines run at once, and the program goes on meanwhile. The key once per
            # run: to ask for it is as much work as to log in.
            await aside(check_reachable, what, host, port, None if compared else host_key)
            compared = True

    callback: Callable[[pulumi.ResourceHookArgs], Awaitable[None]] = check
    return pulumi.ResourceHook(name, callback)


def check_reachable(machine: str, host: str, port: int, host_key: str | None, wait: float = _WAIT_SECONDS) -> None:
    """Waits until an ssh server answers, then compares its host key where ssh-keyscan is at hand.

    Args:
        machine: how to call the machine in messages.
        host: name or address.
        port: TCP port.
        host_key: the public host key that the configuration names; None: it is not compared.
        wait: seconds to wait for an answer; a machine that reboots needs some.

    Raises:
        UnreachableError: no answer in time, or another host key.
    """
    deadline = time.monotonic() + wait
    while (cause := _try(host, port)) is not None:
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"{machine}: no ssh server answers at {host} port {port} ({cause}). "
                "Start the machine, open the port to this computer, or correct `ssh` of this machine; "
                "then run pulumi up again: it goes on where it stopped."
            )
        time.sleep(1)
    if host_key is None:
        return
    kind, key = [*host_key.split(), "", ""][:2]
    presented = _host_key(host, port, kind)
    if presented not in (None, key):
        raise UnreachableError(
            f"{machine}: {host} port {port} presents another host key than hostKey says. Given: {kind} {key}. "
            f"Presented: {kind} {presented}. "
            "If the machine was installed anew, put its new key into hostKey; if not, somebody else answers there."
        )


def _try(host: str, port: int) -> str | None:
    """None when an ssh server greets, else why not."""
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_SECONDS) as connection:
            return None if connection.recv(4) == b"SSH-" else "something else than an ssh server answers"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _host_key(host: str, port: int, kind: str) -> str | None:
    """The server's public host key of that kind; None when that cannot be found out here."""
    scan = shutil.which("ssh-keyscan")
    if scan is None or kind not in _SCANNED:
        return None
    command = [scan, "-T", f"{_ANSWER_SECONDS:.0f}", "-t", _SCANNED[kind], "-p", str(port), host]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * _ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    rows = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    return next((row[2] for row in rows if row[1:2] == [kind] and len(row) > 2), None)
