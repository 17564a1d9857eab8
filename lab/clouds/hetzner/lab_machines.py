"""The account's machines, networks and volumes as machines, bridges and files on this computer."""

import ipaddress
import json

from ... import host, image
from ...lab import MIRROR_NAME, Lab
from .. import bridges
from ..guest import BlockDevice, Guest, Nic, guest_of
from ..volume import Volume
from . import firewalls, networks
from .core import Cloud, Row
from .machines import Machines

_PRIVATE_MTU = 1450


class LabMachines(Machines):
    """The machines of a lab. Creating this object creates the public network on the lab's bridge."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.lab = lab.id
        with host.register():
            self.public = bridges.choose_public(lab.id, lab.subnet)
            host.call("ip", "address", "replace", f"{self.public[1]}/24", "dev", lab.id)
        six = self.public_six
        for address in ("fe80::1/64", f"{six[1]}/64"):
            host.call("ip", "-6", "address", "replace", address, "dev", lab.id, "nodad", check=False)
        host.call("ip", "-6", "route", "replace", str(six), "dev", lab.id, check=False)

    # -- networks ----------------------------------------------------------------------------------------------------

    def connect(self, network: Row) -> None:
        bridges.add_bridge(self._bridge(network))
        prefix = networks.Network(network["ip_range"]).prefixlen
        routes = [(route["destination"], route["gateway"]) for route in network["routes"]]
        self._router(network).set(f"{networks.gateway(network)}/{prefix}", routes)

    def disconnect(self, network: Row) -> None:
        self._router(network).remove()
        bridges.remove_bridge(self._bridge(network))

    def filter(self, cloud: Cloud) -> None:
        ports = []
        for server in cloud.rows("servers"):
            applied = firewalls.of(cloud, server)
            if applied:
                ports.append(bridges.Port(self._cable(server["id"]), tuple(_openings(applied))))
        bridges.filters(self.lab, ports)

    def card(self, cloud: Cloud, net: Row) -> Nic:
        network = cloud.row("networks", net["network"])
        address = f"{net['ip']}/{ipaddress.IPv4Network(network['ip_range']).prefixlen}"
        cable = self._cable(net["_nic"])
        return Nic(cable, self._bridge(network), net["_name"], net["mac_address"], _PRIVATE_MTU, (address,))

    def plug(self, server: Row, card: Nic) -> None:
        self._guest(server).plug(card)

    def unplug(self, server: Row, card: Nic) -> None:
        self._guest(server).unplug(card)

    def _bridge(self, network: Row) -> str:
        return f"{self.lab}n{network['id']}"

    def _router(self, network: Row) -> bridges.Router:
        return bridges.Router(f"{self.lab}-n{network['id']}", self._cable(network["id"]), self._bridge(network))

    def _cable(self, number: int) -> str:
        return f"{self.lab}v{number}"

    # -- servers -----------------------------------------------------------------------------------------------------

    def _guest(self, server: Row) -> Guest:
        return guest_of(self._lab, server["id"])

    def install(self, cloud: Cloud, server: Row) -> None:
        with cloud.lock:
            keys = [row["public_key"] for row in cloud.rows("ssh_keys") if row["id"] in server["_ssh_keys"]]
            name, user_data = server["name"], server["_user_data"]
        meta = {"instance-id": str(server["id"]), "local-hostname": name, "public-keys": keys}
        vendor = "#cloud-config\n" + json.dumps({"preserve_hostname": False, "manage_etc_hosts": False})
        seed = {"meta-data": json.dumps(meta), "user-data": user_data, "vendor-data": vendor}
        hosts = f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost ip6-loopback\n"
        base = image.ensure(print, image.CLOUD)
        self._guest(server).create(base, name, seed, f"{hosts}{self._lab.address} {MIRROR_NAME}\n")

    def configure(self, cloud: Cloud, server: Row) -> None:
        with cloud.lock:
            prepared = (server["name"], self._cards(cloud, server), self._devices(cloud, server))
        self._guest(server).configure(*prepared)

    def start(self, cloud: Cloud, server: Row) -> None:
        with cloud.lock:
            prepared = (server["name"], self._cards(cloud, server), self._devices(cloud, server))
        if not self.running(server):
            self._guest(server).start(*prepared)

    def running(self, server: Row) -> bool:
        return self._guest(server).running

    def press(self, server: Row) -> None:
        self._guest(server).press_power_button()

    def reboot(self, server: Row) -> None:
        self._guest(server).reboot()

    def cut(self, server: Row) -> None:
        self._guest(server).cut_power()

    def destroy(self, server: Row) -> None:
        self._guest(server).destroy()

    def _cards(self, cloud: Cloud, server: Row) -> list[Nic]:
        found = []
        four, six = server["public_net"]["ipv4"], server["public_net"]["ipv6"]
        if four or six:
            addresses, gateways = [], []
            if four:
                addresses.append(f"{four['ip']}/{self.public.prefixlen}")
                gateways.append(str(self.public[1]))
            if six:  # all public IPv6 ranges are on one link
                addresses.append(f"{ipaddress.IPv6Network(six['ip'])[1]}/{self.public_six.prefixlen}")
                gateways.append("fe80::1")
            mac = bridges.mac(self.lab, four["ip"] if four else str(ipaddress.IPv4Address(server["id"])))
            cable = self._cable(server["id"])
            found.append(Nic(cable, self.lab, "eth0", mac, 1500, tuple(addresses), tuple(gateways)))
        return found + [self.card(cloud, net) for net in server["private_net"]]

    # -- volumes -----------------------------------------------------------------------------------------------------

    def _volume(self, volume: Row) -> Volume:
        return Volume(self._lab.dir / "hetzner" / "volumes" / f"{volume['id']}.img")

    def _devices(self, cloud: Cloud, server: Row) -> list[BlockDevice]:
        return [
            BlockDevice(self._volume(row).attach(), f"/dev/{row['_device']}", row["linux_device"])
            for row in cloud.rows("volumes")
            if row["server"] == server["id"]
        ]

    def size_volume(self, volume: Row) -> None:
        self._volume(volume).set_size(volume["size"])

    def show_volumes(self, cloud: Cloud, server: Row) -> None:
        self.configure(cloud, server)
        self._guest(server).refresh_devices()

    def pull_volume(self, volume: Row, server: Row | None) -> None:
        self._volume(volume).pull(self._guest(server).init if server else None)

    def remove_volume(self, volume: Row) -> None:
        self._volume(volume).destroy()


def _openings(applied: list[Row]) -> list[bridges.Opening]:
    rules = [rule for row in applied for rule in row["rules"]]
    return [
        bridges.Opening(
            rule["protocol"], None if rule["port"] in (None, "any") else rule["port"], tuple(rule["source_ips"])
        )
        for rule in rules
    ]
