"""The emulated account: moto's model of it, and what the lab adds."""

import ipaddress
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from ... import host
from ...lab import Lab
from .. import bridges
from ..volume import Volume

if TYPE_CHECKING:
    from .server import Server


class Account:
    """One account, in all regions. Hold `lock` to use moto's model, but not during slow work.

    Attributes:
        servers: The machines, by instance id.
        public: The range of public addresses; this computer has the first one.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.lock = threading.RLock()
        self.servers: dict[str, Server] = {}
        self.public = self._bridge_public()
        self._numbers: dict[str, int] = {}
        self._given = 9

    def regions(self) -> Iterator[Any]:
        """moto's model of EC2 in each region that was ever used."""
        yield from list(ec2_backends[DEFAULT_ACCOUNT_ID].values())

    def number(self, identity: str) -> int:
        """A small number for a resource, because interface names are short."""
        return self._numbers.setdefault(identity, len(self._numbers) + 1)

    def cable(self, identity: str) -> str:
        """The host's end of the veth pair of a network interface or a router."""
        return f"{self.lab.id}v{self.number(identity)}"

    def free_public(self) -> str:
        """A free public address, if possible one that was never used: neighbours cache addresses."""
        taken = {nic.public_ip for region in self.regions() for nic in region.enis.values()}
        taken |= {address.public_ip for region in self.regions() for address in region.addresses}
        # .2 to .9 are left for tests, the upper half for strangers (machines of the lab outside the cloud).
        for _ in range(10, 128):
            self._given = 10 if self._given == 127 else self._given + 1
            address = str(self.public.network_address + self._given)
            if address not in taken:
                return address
        raise RuntimeError(f"no public address is left in {self.public}")

    def empty(self) -> None:
        """Cut the power of all machines and remove their disks and all volumes; moto's model stays."""
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda server: server.destroy(), self.servers.values()))
        self.servers.clear()
        for file in (self.lab.dir / "aws" / "volumes").glob("*.img"):
            Volume(file).destroy()

    def _bridge_public(self) -> ipaddress.IPv4Network:
        with host.register():
            public = bridges.choose_public(self.lab.id, self.lab.subnet)
            host.call("ip", "address", "replace", f"{public[1]}/{public.prefixlen}", "dev", self.lab.id)
        return public
