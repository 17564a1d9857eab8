"""What the account needs from the computer. This base class boots nothing: servers are on or off in the account only.

`lab_machines` has the machines that boot.
"""
# ruff: noqa: ARG002 - the base class ignores its arguments

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core import Cloud, Row


class Machines:
    """No machines, for accounts without logins.

    Attributes:
        lab: The prefix of all names on the computer.
        public: The range of public addresses.
        public_six: The same for IPv6.
    """

    lab = "eel000000"
    public = ipaddress.IPv4Network("198.18.0.0/24")

    @property
    def public_six(self) -> ipaddress.IPv6Network:
        """From the documentation range, made unique by the public IPv4 range."""
        third = int(self.public.network_address) >> 8 & 255
        return ipaddress.IPv6Network((0x20010DB8 << 96 | third << 80, 48))

    def connect(self, network: Row) -> None:
        """Create what is missing of a network: its bridge, and its router with the network's routes."""

    def disconnect(self, network: Row) -> None:
        """Remove a network."""

    def filter(self, cloud: Cloud) -> None:
        """Make the packet filters match the firewalls."""

    def install(self, cloud: Cloud, server: Row) -> None:
        """A new disk for a server, with cloud-init's data on it."""

    def configure(self, cloud: Cloud, server: Row) -> None:
        """Write the files for a server's next boot."""

    def start(self, cloud: Cloud, server: Row) -> None:
        """Power on a server."""

    def running(self, server: Row) -> bool:
        """Whether a server that should run does; it may have shut itself down."""
        return True

    def press(self, server: Row) -> None:
        """Press a server's power button, without waiting."""
        server["status"] = "off"

    def reboot(self, server: Row) -> None:
        """Ask a server to reboot, without waiting."""

    def cut(self, server: Row) -> None:
        """Cut a server's power."""

    def destroy(self, server: Row) -> None:
        """Cut a server's power and remove its disk."""

    def plug(self, server: Row, card: Any) -> None:
        """Add a network interface to a running server."""

    def unplug(self, server: Row, card: Any) -> None:
        """Remove a network interface."""

    def card(self, cloud: Cloud, net: Row) -> Any:
        """The interface of one attachment to a network."""

    def size_volume(self, volume: Row) -> None:
        """Set a volume's size; create it if it is new."""

    def show_volumes(self, cloud: Cloud, server: Row) -> None:
        """Show a server the volumes that it has now."""

    def pull_volume(self, volume: Row, server: Row | None) -> None:
        """Detach a volume from a server, or from one that is gone."""

    def remove_volume(self, volume: Row) -> None:
        """Remove a volume with its data."""
