"""Explains why a machine cannot be reached, where pulumi-command only has the words of its ssh library.

Working connections are not probed: sshd (`MaxStartups`, `PerSourcePenalties`) and fail2ban count connections without a
login. If a connection does not succeed within some seconds, it is probed once per run, while pulumi-command continues
to retry. Nothing here is needed for safety: the connection itself pins the host key.
"""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from .threads import in_thread

# pulumi-command retries for 11 s if the machine refuses, and for a minute if there is no answer.
_PATIENCE_SECONDS = 4.0
_ANSWER_SECONDS = 5.0
# Two looks this far apart distinguish an established connection from an attempt.
_LASTS_SECONDS = 0.5
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
# Type of a host key -> what ssh-keyscan calls it.
_SCANNED = {"ssh-ed25519": "ed25519", **{f"ecdsa-sha2-nistp{bits}": "ecdsa" for bits in (256, 384, 521)}}


@dataclass(frozen=True)
class Door:
    """The first host on the way to a machine: the machine, or its bastion."""

    what: str
    """Its name in messages."""
    host: str
    port: int
    host_key: str


# Per run, the doors that are not probed any more: they work, or their problem was reported.
_settled: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, set[tuple[str, int, str]]] = weakref.WeakKeyDictionary()


def hooks(name: str, machine: str) -> pulumi.ResourceHookBinding:
    """Hooks for the commands of one machine that warn, with a remedy, if it or its bastion cannot be reached.

    Not for deletions: those must work without the program that defines the hooks.

    Args:
        name: unique prefix of the hooks' names.
        machine: name of the slot.
    """

    async def begins(args: pulumi.ResourceHookArgs) -> None:
        door, loop = await _door(machine, args), asyncio.get_running_loop()
        if not _is_settled(loop, door):
            loop.call_later(_PATIENCE_SECONDS, lambda: asyncio.ensure_future(_look(door)))

    async def ended(args: pulumi.ResourceHookArgs) -> None:
        _settle(asyncio.get_running_loop(), await _door(machine, args))

    before, after = pulumi.ResourceHook(f"{name}-begins", begins), pulumi.ResourceHook(f"{name}-ended", ended)
    return pulumi.ResourceHookBinding(
        before_create=[before], before_update=[before], after_create=[after], after_update=[after]
    )


async def _door(machine: str, args: pulumi.ResourceHookArgs) -> Door:
    """The first host on the way to the machine, from the inputs of its command."""
    given = (args.new_inputs or {})["connection"]
    connection: Any = await given.future() if isinstance(given, pulumi.Output) else given
    proxy = connection.get("proxy")
    way = proxy or connection
    return Door(f"{machine}'s bastion" if proxy else machine, way["host"], int(way["port"]), way["hostKey"])


def _is_settled(loop: asyncio.AbstractEventLoop, door: Door) -> bool:
    return (door.host, door.port, door.host_key) in _settled.setdefault(loop, set())


def _settle(loop: asyncio.AbstractEventLoop, door: Door) -> None:
    _settled.setdefault(loop, set()).add((door.host, door.port, door.host_key))


async def _look(door: Door) -> None:
    loop = asyncio.get_running_loop()
    if _is_settled(loop, door):
        return
    _settle(loop, door)
    # In a thread, so that the program continues.
    wrong = await in_thread(wrong_with, door)
    if wrong:
        pulumi.log.warn(wrong)


def wrong_with(door: Door) -> str | None:
    """What is wrong with a door, with the remedy; None if nothing is, or if a connection is established.

    The host key is compared if ssh-keyscan is installed. Otherwise only the greeting of an ssh server is checked.
    """
    if connected(door.host, door.port):
        return None
    kind, key = [*door.host_key.split(), "", ""][:2]
    at = f"{door.host} port {door.port}"
    presented = _host_key(door.host, door.port, kind)
    if presented is None and (cause := _no_greeting(door.host, door.port)) is not None:
        return (
            f"{door.what}: no ssh server answers at {at} ({cause}). Start the machine, open the port to this computer, "
            "or correct `ssh` of this machine. Then run pulumi up again: it continues where it stopped."
        )
    if presented not in (None, key):
        return (
            f"{door.what}: {at} presents another host key than hostKey. Given: {kind} {key}. "
            f"Presented: {kind} {presented}. "
            "If the machine was reinstalled, set hostKey to its new key. If not, another host answers there."
        )
    return None


def connected(host: str, port: int) -> bool:
    """Whether this computer has an established connection to that port; False if the system does not show it."""
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    places = {f"{_hexadecimal(address)}:{port:04X}" for address in addresses}
    first = _connections(places)
    if not first:
        return False
    # A refused attempt is over by then.
    time.sleep(_LASTS_SECONDS)
    return bool(first & _connections(places))


def _connections(places: set[str]) -> set[str]:
    """The local ends of established connections to these remote ends."""
    found = set()
    for table in _TABLES:
        with contextlib.suppress(OSError):
            rows = [line.split() for line in table.read_text().splitlines()[1:]]
            found |= {row[1] for row in rows if row[2] in places and row[3] == _ESTABLISHED}
    return found


def _hexadecimal(address: str) -> str:
    """An address as in the kernel's tables: 32-bit words in the computer's byte order."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address.partition("%")[0])
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def _no_greeting(host: str, port: int) -> str | None:
    """None if an ssh server greets, otherwise why not."""
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_SECONDS) as connection:
            return None if connection.recv(4) == b"SSH-" else "something other than an ssh server answers"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _host_key(host: str, port: int, kind: str) -> str | None:
    """The server's public host key of that kind; None if it cannot be determined."""
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
