"""Networks of an emulated cloud: a bridge each beside the lab's own, and packet filters for the public side.

Everything is named after the lab, and removed with it by `lab.network.Network.destroy`.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .. import host
from ..errors import LabError

_PUBLIC = ipaddress.IPv4Network("198.18.0.0/16")  # for tests of networks, by RFC 2544: no real host has such an address


def mac(lab: str, address: str) -> str:
    """The hardware address of a network card of a lab, by its address of IPv4 or another number of four bytes.

    Who has the same address later has the same hardware address: neighbours remember it for a minute, while in a real
    cloud there are no neighbours.
    """
    return ":".join(["86", lab[3:5], *(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)])


def add_bridge(name: str) -> None:
    """Make a bridge without an address of this computer, if it is missing."""
    if not (Path("/sys/class/net") / name).exists():
        host.call("ip", "link", "add", "name", name, "type", "bridge")
    # No address at all: this computer is no part of a private network.
    host.call("sysctl", "-q", "-w", f"net.ipv6.conf.{name}.disable_ipv6=1", check=False)
    host.call("ip", "link", "set", name, "up")


def remove_bridge(name: str) -> None:
    """Remove a bridge."""
    host.call("ip", "link", "delete", name, check=False)


@dataclass(frozen=True)
class Router:
    """What forwards packets between the machines on a bridge: a network namespace of its own.

    Attributes:
        name: Of the namespace.
        cable: Its end on the computer.
        bridge: Where that is plugged in.
    """

    name: str
    cable: str
    bridge: str

    def set(self, address: str, routes: Iterable[tuple[str, str]]) -> None:
        """Let it have this address (with its prefix length) and these routes, as destinations and gateways."""
        if not (Path("/run/netns") / self.name).exists():
            host.call("ip", "netns", "add", self.name)
        there = ("ip", "netns", "exec", self.name)
        if not (Path("/sys/class/net") / self.cable).exists():
            host.call("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "net", "netns", self.name)
            # It never tells the machines of a shorter way: in the real cloud there is none.
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
    """A free /24 for public addresses; call it while the register of labs is held.

    Raises:
        LabError: none is free.
    """
    taken = host.taken_networks(but=lab)
    start = int(subnet.network_address) >> 8 & 255
    for step in range(256):
        chosen = ipaddress.IPv4Network((int(_PUBLIC.network_address) + ((start + step) % 256 << 8), 24))
        if not any(network.overlaps(chosen) for network in taken):
            return chosen
    raise LabError(f"no free /24 in {_PUBLIC} on this computer for public addresses: take down another emulated cloud.")


@dataclass(frozen=True)
class Opening:
    """What may pass: a protocol, ports ("22", "80-85", or None for all), and the networks at the other end."""

    protocol: str
    ports: str | None
    peers: tuple[str, ...]


@dataclass(frozen=True)
class Port:
    """The filter at the cable of one network card.

    An empty `outgoing` lets everything out, an empty `incoming` lets nothing in.
    """

    cable: str
    incoming: tuple[Opening, ...] = ()
    outgoing: tuple[Opening, ...] = field(default=())


def filters(lab: str, ports: Iterable[Port]) -> None:
    """Put these filters in place of those before, in one step.

    The kernel may know no connections in bridges, so this is told from the packets: what is no opening segment of TCP
    belongs to a connection that was let through; answers by UDP are known by the datagrams that they answer.
    """
    inward: list[str] = []
    outward: list[str] = []
    for port in ports:
        inward += _chain("oifname", port.cable, port.incoming, "s")
        if port.outgoing:
            outward += _chain("iifname", port.cable, port.outgoing, "d")
        else:
            outward += [f'iifname "{port.cable}" meta l4proto udp {rule}' for rule in _remember()]
    # What goes from one machine to another passes both; the computer's own traffic passes one of the two.
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
    """Rules for one direction of one cable: returning from the chain is passing, since the next one may object."""
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
    """The networks of one version of IP, without those inside others, which nft does not take in one set."""
    networks = [ipaddress.ip_network(peer, strict=False) for peer in peers]
    if version == 4:
        four = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
        return [str(network) for network in ipaddress.collapse_addresses(four)]
    six = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return [str(network) for network in ipaddress.collapse_addresses(six)]
