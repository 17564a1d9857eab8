"""Networks of an emulated cloud: one bridge each, and packet filters for the public side.

All names start with the lab's id, and `lab.network.Network.destroy` removes everything.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .. import host
from ..errors import LabError

_PUBLIC = ipaddress.IPv4Network("198.18.0.0/16")  # for network tests, by RFC 2544: real hosts have no such address


def mac(lab: str, address: str) -> str:
    """The MAC address of an interface in a lab, derived from its IPv4 address or another number of four bytes.

    The same address always gets the same MAC: neighbours cache it for a minute, while a real cloud has no neighbours.
    """
    return ":".join(["86", lab[3:5], *(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)])


def add_bridge(name: str) -> None:
    """Create a bridge without an address of this computer, if it is missing."""
    if not (Path("/sys/class/net") / name).exists():
        host.call("ip", "link", "add", "name", name, "type", "bridge")
    # This computer has no address in a private network.
    host.call("sysctl", "-q", "-w", f"net.ipv6.conf.{name}.disable_ipv6=1", check=False)
    host.call("ip", "link", "set", name, "up")


def remove_bridge(name: str) -> None:
    """Remove a bridge."""
    host.call("ip", "link", "delete", name, check=False)


@dataclass(frozen=True)
class Router:
    """Forwards packets between the machines on a bridge, in its own network namespace.

    Attributes:
        name: Of the namespace.
        cable: The host's end of its veth pair.
        bridge: The bridge of that end.
    """

    name: str
    cable: str
    bridge: str

    def set(self, address: str, routes: Iterable[tuple[str, str]]) -> None:
        """Set its address (with prefix length) and its routes (destination and gateway)."""
        if not (Path("/run/netns") / self.name).exists():
            host.call("ip", "netns", "add", self.name)
        there = ("ip", "netns", "exec", self.name)
        if not (Path("/sys/class/net") / self.cable).exists():
            host.call("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "net", "netns", self.name)
            # No redirects: in the real cloud there is no direct path between machines.
            settings = ("ip_forward=1", "conf.all.send_redirects=0", "conf.net.send_redirects=0")
            host.call(*there, "sysctl", "-q", "-w", *(f"net.ipv4.{setting}" for setting in settings))
        host.call("ip", "link", "set", self.cable, "master", self.bridge, "up")
        host.call(*there, "ip", "address", "flush", "dev", "net")
        host.call(*there, "ip", "address", "add", address, "dev", "net")
        host.call(*there, "ip", "link", "set", "net", "up")
        for destination, gateway in routes:
            host.call(*there, "ip", "route", "replace", destination, "via", gateway)

    def remove(self) -> None:
        """Remove it."""
        host.call("ip", "netns", "delete", self.name, check=False)


def choose_public(lab: str, subnet: ipaddress.IPv4Network) -> ipaddress.IPv4Network:
    """A free /24 for public addresses; call it while the register of labs is locked.

    Raises:
        LabError: none is free.
    """
    taken = host.taken_networks(but=lab)
    start = int(subnet.network_address) >> 8 & 255
    for step in range(256):
        chosen = ipaddress.IPv4Network((int(_PUBLIC.network_address) + ((start + step) % 256 << 8), 24))
        if not any(network.overlaps(chosen) for network in taken):
            return chosen
    raise LabError(f"There is no free /24 in {_PUBLIC} on this computer. Take down another emulated cloud.")


@dataclass(frozen=True)
class Opening:
    """What may pass: a protocol, ports ("22", "80-85", or None for all), and the remote networks."""

    protocol: str
    ports: str | None
    peers: tuple[str, ...]


@dataclass(frozen=True)
class Port:
    """The filter of one network interface.

    An empty `outgoing` allows everything out, an empty `incoming` allows nothing in.
    """

    cable: str
    incoming: tuple[Opening, ...] = ()
    outgoing: tuple[Opening, ...] = field(default=())


def filters(lab: str, ports: Iterable[Port]) -> None:
    """Replace all filters atomically.

    The kernel may not track connections in bridges, so the filters look at packets: a TCP segment that opens nothing
    belongs to an allowed connection, and a UDP answer matches an earlier datagram.
    """
    inward: list[str] = []
    outward: list[str] = []
    for port in ports:
        inward += _chain("oifname", port.cable, port.incoming, "s")
        if port.outgoing:
            outward += _chain("iifname", port.cable, port.outgoing, "d")
        else:
            outward += [f'iifname "{port.cable}" meta l4proto udp {rule}' for rule in _remember()]
    # Traffic between two machines passes both; the computer's own traffic passes one of them.
    body = {"forward": [*outward, *inward], "input": outward, "output": inward}
    text = f"add table bridge {lab}fw\ndelete table bridge {lab}fw\ntable bridge {lab}fw {{\n"
    for version in ("4", "6"):
        address = f"ipv{version}_addr"
        text += (
            f"  set udp{version} {{ type {address} . inet_service . {address} . inet_service; "
            "flags dynamic,timeout; timeout 2m; size 65535; }\n"
        )
    for direction, rules in (("out", outward), ("in", inward)):
        text += f"  chain {direction}ward {{\n" + "".join(f"    {rule}\n" for rule in rules) + "  }\n"
    for hook, used in body.items():
        jumps = ([] if used is inward else ["jump outward"]) + ([] if used is outward else ["jump inward"])
        text += f"  chain at_{hook} {{\n    type filter hook {hook} priority 10; policy accept;\n"
        text += "".join(f"    {jump}\n" for jump in jumps) + "  }\n"
    host.call("nft", "-f", "-", stdin=text + "}\n")


def _remember() -> list[str]:
    return [
        "update @udp4 { ip saddr . udp sport . ip daddr . udp dport }",
        "update @udp6 { ip6 saddr . udp sport . ip6 daddr . udp dport }",
    ]


def _chain(match: str, cable: str, openings: Iterable[Opening], side: str) -> list[str]:
    """Rules for one direction of one interface: they return instead of accepting, since later chains may drop."""
    of = f'{match} "{cable}"'
    rules = [
        f"{of} ether type arp return",
        f"{of} icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert }} return",
        f"{of} icmp type {{ echo-reply, destination-unreachable, time-exceeded }} return",
        f"{of} icmpv6 type {{ echo-reply, destination-unreachable, packet-too-big, time-exceeded }} return",
        f"{of} tcp flags & (syn | ack) != syn return",
        f"{of} ip daddr . udp dport . ip saddr . udp sport @udp4 return",
        f"{of} ip6 daddr . udp dport . ip6 saddr . udp sport @udp6 return",
    ]
    for opening in openings:
        for version in (4, 6):
            peers = _merged(opening.peers, version)
            if not peers:
                continue
            ip = "ip" if version == 4 else "ip6"
            what = f"{ip} {side}addr {{ {', '.join(peers)} }}"
            match opening.protocol:
                case "tcp" | "udp" as protocol:
                    what += f" {protocol} dport {opening.ports}" if opening.ports else f" meta l4proto {protocol}"
                case "icmp":
                    what += f" meta l4proto {'icmp' if version == 4 else 'ipv6-icmp'}"
                case protocol:
                    what += f" meta l4proto {protocol}"
            if opening.protocol == "udp":
                rules.append(f"{of} {what} {_remember()[0 if version == 4 else 1]}")
            rules.append(f"{of} {what} return")
    return [*rules, f"{of} drop"]


def _merged(peers: Iterable[str], version: int) -> list[str]:
    """The networks of one IP version, without those inside others, which nft rejects in one set."""
    networks = [ipaddress.ip_network(peer, strict=False) for peer in peers]
    if version == 4:
        four = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
        return [str(network) for network in ipaddress.collapse_addresses(four)]
    six = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return [str(network) for network in ipaddress.collapse_addresses(six)]
