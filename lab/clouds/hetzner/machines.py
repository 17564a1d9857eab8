"""From servers in the account to guests on this computer: cards, disks, filters."""

import ipaddress
import json

from ... import host, image
from ...lab import MIRROR_NAME
from .. import wires
from ..guest import BlockDevice, Guest, Nic
from ..volume import Volume
from . import labels, networks
from .core import Cloud, Row

_PRIVATE_MTU = 1450


def guest(cloud: Cloud, server: Row) -> Guest:
    """The guest that a server is."""
    name = f"{cloud.lab.id}-s{server['id']}"
    return Guest(name, cloud.lab.dir / "machines" / f"s{server['id']}", cloud.lab.dir / "logs" / f"s{server['id']}.log")


def public_cable(cloud: Cloud, server: Row) -> str:
    """The cable of a server's public card."""
    return f"{cloud.lab.id}v{server['id']}"


def private_cable(cloud: Cloud, net: Row) -> str:
    """The cable of a server's card in a network."""
    return f"{cloud.lab.id}v{net['_nic']}"


def cards(cloud: Cloud, server: Row) -> list[Nic]:
    """The network cards that a server has now."""
    found = []
    four, six = server["public_net"]["ipv4"], server["public_net"]["ipv6"]
    if four or six:
        addresses, gateways = [], []
        if four:
            addresses.append(f"{four['ip']}/{cloud.public.prefixlen}")
            gateways.append(str(cloud.public[1]))
        if six:
            addresses.append(
                f"{ipaddress.IPv6Network(six['ip'])[1]}/{public_six(cloud).prefixlen}"
            )  # all of them on one link
            gateways.append("fe80::1")
        mac = wires.mac(cloud.lab.id, four["ip"] if four else str(ipaddress.IPv4Address(server["id"])))
        cable = public_cable(cloud, server)
        found.append(Nic(cable, cloud.lab.id, "eth0", mac, 1500, tuple(addresses), tuple(gateways)))
    found += [card(cloud, net) for net in server["private_net"]]
    return found


def card(cloud: Cloud, net: Row) -> Nic:
    """The card of one attachment to a network."""
    network = cloud.row("networks", net["network"])
    address = f"{net['ip']}/{ipaddress.IPv4Network(network['ip_range']).prefixlen}"
    bridge = networks.bridge(cloud, network)
    return Nic(private_cable(cloud, net), bridge, net["_name"], net["mac_address"], _PRIVATE_MTU, (address,))


def volume(cloud: Cloud, row: Row) -> Volume:
    """The file that a volume is."""
    return Volume(cloud.lab.dir / "hetzner" / "volumes" / f"{row['id']}.img")


def devices(cloud: Cloud, server: Row) -> list[BlockDevice]:
    """The block devices that a server has now; those of its volumes."""
    return [
        BlockDevice(volume(cloud, row).attach(), f"/dev/{row['_device']}", row["linux_device"])
        for row in cloud.rows("volumes")
        if row["server"] == server["id"]
    ]


def make(cloud: Cloud, server: Row) -> None:
    """A new disk for a server, with what cloud-init has to know on it."""
    with cloud.lock:
        keys = [row["public_key"] for row in cloud.rows("ssh_keys") if row["id"] in server["_ssh_keys"]]
        server_name, user_data = server["name"], server["_user_data"]
        mirror = cloud.lab.address
    meta = {"instance-id": str(server["id"]), "local-hostname": server_name, "public-keys": keys}
    vendor = "#cloud-config\n" + json.dumps({"preserve_hostname": False, "manage_etc_hosts": False})
    seed = {"meta-data": json.dumps(meta), "user-data": user_data or "", "vendor-data": vendor}
    hosts = "".join(
        f"{line}\n"
        for line in (
            "127.0.0.1 localhost",
            f"127.0.1.1 {server_name}",
            "::1 localhost ip6-localhost ip6-loopback",
            f"{mirror} {MIRROR_NAME}",
        )
    )
    guest(cloud, server).create(image.ensure(print, image.CLOUD), server_name, seed, hosts)


def start(cloud: Cloud, server: Row) -> None:
    """Power on a server."""
    with cloud.lock:
        prepared = (server["name"], cards(cloud, server), devices(cloud, server))
    guest(cloud, server).start(*prepared)
    with cloud.change():
        server["status"] = "running"


def reconfigure(cloud: Cloud, server: Row) -> None:
    """Write down what a server has to find at its next boot."""
    with cloud.lock:
        prepared = (server["name"], cards(cloud, server), devices(cloud, server))
    guest(cloud, server).configure(*prepared)


def status(cloud: Cloud, server: Row) -> str:
    """The state of a server; one that powered itself off is off."""
    kept = str(server["status"])
    return "off" if kept == "running" and not guest(cloud, server).running else kept


def firewalls_of(cloud: Cloud, server: Row) -> list[Row]:
    """The firewalls that are applied to a server, directly or by its labels."""
    return [row for row in cloud.rows("firewalls") if applies(row, server)]


def applies(firewall: Row, server: Row) -> bool:
    """Whether a firewall is applied to a server."""
    if not (server["public_net"]["ipv4"] or server["public_net"]["ipv6"]):
        return False
    return server["id"] in firewall["_servers"] or any(
        labels.selector(text)(server["labels"]) for text in firewall["_selectors"]
    )


def filter_all(cloud: Cloud) -> None:
    """Let the packet filters be what the firewalls say. The caller holds the lock."""
    ports = []
    for server in cloud.rows("servers"):
        rules = [rule for row in firewalls_of(cloud, server) for rule in row["rules"]]
        if firewalls_of(cloud, server):
            openings = {
                direction: tuple(
                    wires.Opening(
                        rule["protocol"],
                        None if rule["port"] in (None, "any") else rule["port"],
                        tuple(rule["source_ips" if direction == "in" else "destination_ips"]),
                    )
                    for rule in rules
                    if rule["direction"] == direction
                )
                for direction in ("in", "out")
            }
            ports.append(wires.Port(public_cable(cloud, server), openings["in"], openings["out"]))
    wires.filters(cloud.lab.id, ports)


def bridge_public(cloud: Cloud) -> None:
    """Make the public network: the lab's own bridge, with an address in the public range and one of IPv6."""

    with host.register():
        if not cloud.public_known:
            cloud.public = wires.choose_public(cloud.lab.id, cloud.lab.subnet)
        address = f"{cloud.public.network_address + 1}/24"
        host.call("ip", "address", "replace", address, "dev", cloud.lab.id)
    six = public_six(cloud)
    host.call("ip", "-6", "address", "replace", "fe80::1/64", "dev", cloud.lab.id, "nodad", check=False)
    host.call("ip", "-6", "address", "replace", f"{six[1]}/64", "dev", cloud.lab.id, "nodad", check=False)
    host.call("ip", "-6", "route", "replace", str(six), "dev", cloud.lab.id, check=False)


def public_six(cloud: Cloud) -> ipaddress.IPv6Network:
    """The range of public addresses of IPv6: one of those for documentation, told apart by the public range of IPv4."""
    third = int(cloud.public.network_address) >> 8 & 255
    return ipaddress.IPv6Network((0x20010DB8 << 96 | third << 80, 48))


def free_public(cloud: Cloud) -> str:
    """A public address that no server has."""
    taken = {row["ip"] for row in cloud.rows("primary_ips")}
    # .2 to .9 are left for what a test puts there, the upper half for machines of the lab that are strangers.
    addresses = (str(cloud.public.network_address + n) for n in range(10, 128))
    return next(address for address in addresses if address not in taken)
