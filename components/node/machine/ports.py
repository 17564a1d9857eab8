"""The processes that listen on etcd's ports, and who is connected to this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..shared import paths
from . import pod_process

_LISTEN, _ESTABLISHED = "0A", "01"


@dataclass(frozen=True)
class Listener:
    """A socket in use, and its process."""

    address: str
    port: int
    pid: int
    """0 when the process cannot be found."""
    program: str


def foreign_listeners(ports: Iterable[int], addresses: Iterable[str]) -> list[Listener]:
    """Processes of others that listen on one of the ports at one of the addresses, or at all addresses."""
    wanted = set(ports)
    hosts = {ipaddress.ip_address(address) for address in addresses}
    taken: dict[str, tuple[str, int]] = {}
    for line in _sockets():
        fields = line.split()
        host, _, port = fields[1].partition(":")
        address = _address(host)
        if fields[3] == _LISTEN and int(port, 16) in wanted and (address.is_unspecified or address in hosts):
            taken[fields[9]] = (str(address), int(port, 16))
    if not taken:
        return []
    owners = _owners(set(taken))
    return [
        Listener(address, port, owners.get(inode, 0), _program(owners.get(inode, 0)))
        for inode, (address, port) in taken.items()
        if not _ours(owners.get(inode, 0))
    ]


def connected(port: int) -> list[str]:
    """Addresses of other machines that are connected to this port here, each once."""
    found = set()
    for line in _sockets():
        fields = line.split()
        here, there = (_address(fields[at].partition(":")[0]) for at in (1, 2))
        if fields[3] == _ESTABLISHED and int(fields[1].partition(":")[2], 16) == port and here != there:
            found.add(there)
    return sorted(str(address) for address in found if not address.is_loopback)


def login() -> tuple[str, int] | None:
    """The ssh connection that started this process: the address it comes from, and the port here. None: no ssh.

    sshd gives it to the login's shell as SSH_CONNECTION. sudo removes that variable, so it is read from the ancestors.
    """
    pid = os.getpid()
    while pid > 1:
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            # The name of the program in parentheses, which may contain spaces, is followed by state and parent.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return None  # it has ended: nobody waits for this process any more
        for variable in variables:
            name, _, value = variable.decode(errors="replace").partition("=")
            if name == "SSH_CONNECTION" and len(value.split()) == 4:
                source, _, _, port = value.split()
                source = source.partition("%")[0]  # a link-local address has its interface
                # Another program may serve ssh without a socket of the kernel, and a terminal may outlive its login.
                return (source, int(port)) if source in connected(int(port)) else None
    return None


def _sockets() -> Iterator[str]:
    """The lines of the kernel's tables of TCP sockets."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            yield from Path(table).read_text().splitlines()[1:]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The kernel's notation: groups of four bytes, each in the byte order of amd64 and arm64."""
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _owners(inodes: set[str]) -> dict[str, int]:
    """Socket -> its process. A child that is about to become another program has it, too: /proc lists parents first."""
    found: dict[str, int] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:
            continue  # it has ended, or is not visible to us
        for descriptor in descriptors:
            try:
                link = str(descriptor.readlink())
            except OSError:
                continue  # closed meanwhile: an etcd with clients opens and closes connections all the time
            if link.startswith("socket:[") and link[8:-1] in inodes:
                found.setdefault(link[8:-1], int(process.name))
    return found


def _program(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return "unknown"


def _ours(pid: int) -> bool:
    if pod_process.is_etcd(pid):
        return True
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return False
    return any(line.endswith((f"/{paths.UNIT}", f"/{paths.NETWORK_UNIT}")) for line in lines)
