"""What the account asks of the computer. As written here nothing boots: servers are on or off in the account only.

`lab_machines` has the machines that really boot.
"""
# ruff: noqa: ARG002 - what is asked of machines that are none

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core import Cloud, Row


class Machines:
    """No machines: all that an account needs where nobody logs in.

    Attributes:
        lab: What the names of everything on the computer begin with.
        public: The range of public addresses.
        public_six: The same for IPv6.
    """

    lab = "eel000000"
    public = ipaddress.IPv4Network("198.18.0.0/24")

    @property
    def public_six(self) -> ipaddress.IPv6Network:
        """One of those for documentation, told apart by the public range of IPv4."""
        third = int(self.public.network_address) >> 8 & 255
        return ipaddress.IPv6Network((0x20010DB8 << 96 | third << 80, 48))

    def connect(self, network: Row) -> None:
        """Make what is missing of a network: its bridge, and its router with the network's routes."""

    def disconnect(self, network: Row) -> None:
        """Remove a network."""

    def filter(self, cloud: Cloud) -> None:
        """Let the packet filters be what the firewalls say."""

    def install(self, cloud: Cloud, server: Row) -> None:
        """A new disk for a server, with what cloud-init has to know on it."""

    def configure(self, cloud: Cloud, server: Row) -> None:
        """Write down what a server has to find at its next boot."""

    def start(self, cloud: Cloud, server: Row) -> None:
        """Power on a server."""

    def running(self, server: Row) -> bool:
        """Whether a server that should run does; it may have powered itself off."""
        return True

    def press(self, server: Row) -> None:
        """Press a server's power button, without waiting."""
        server["status"] = "off"

    def reboot(self, server: Row) -> None:
        """Ask a server to boot again, without waiting."""

    def cut(self, server: Row) -> None:
        """Cut a server's power."""

    def destroy(self, server: Row) -> None:
        """Cut a server's power and remove its disk."""

    def plug(self, server: Row, card: Any) -> None:
        """Give a running server a network card."""

    def unplug(self, server: Row, card: Any) -> None:
        """Take it away."""

    def card(self, cloud: Cloud, net: Row) -> Any:
        """The card of one attachment to a network."""

    def size_volume(self, volume: Row) -> None:
        """Let a volume have its size; make it if it is new."""

    def show_volumes(self, cloud: Cloud, server: Row) -> None:
        """Let a server see the volumes that it has now."""

    def pull_volume(self, volume: Row, server: Row | None) -> None:
        """Take a volume out of a server, or out of one that is gone."""

    def remove_volume(self, volume: Row) -> None:
        """Remove a volume with all that is on it."""
