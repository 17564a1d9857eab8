"""Servers."""

import ipaddress
import re
import secrets
import threading
from collections.abc import Callable
from typing import Any

from .. import bridges
from . import catalog, firewalls, labels, networks, simple
from .core import Cloud, Request, Row, now, shown
from .errors import ApiError, invalid, missing

_HOST_NAME = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_USER_DATA_BYTES = 32 * 1024
_CARDS = ("enp7s0", "enp8s0", "enp9s0")


def view(cloud: Cloud, server: Row) -> Row:
    """A server as the API shows it."""
    group = cloud.find("placement_groups", server["_group"])
    applied = [{"id": row["id"], "status": "applied"} for row in firewalls.of(cloud, server)]
    off = server["status"] == "running" and not cloud.machines.running(server)
    return {
        **shown(server),
        "status": "off" if off else server["status"],
        "locked": bool(server["_actions"]),
        "public_net": {**server["public_net"], "floating_ips": [], "firewalls": applied},
        "private_net": [shown(net) for net in server["private_net"]],
        "volumes": [row["id"] for row in cloud.rows("volumes") if row["server"] == server["id"]],
        "placement_group": simple.group_view(cloud, group) if group else None,
        "iso": None,
        "rescue_enabled": False,
        "backup_window": None,
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "included_traffic": 0,
        "load_balancers": [],
    }


def create(cloud: Cloud, request: Request) -> Row:
    """POST /servers."""
    row, nets, walls = _checked(cloud, request)
    cloud.add("servers", row)
    number = row["id"]
    _give_addresses(cloud, row, request.get("public_net", dict, default={}))
    for net in nets:
        _attach(cloud, row, net, networks.choose(cloud, net, _zone(row)))
    for wall in walls:
        wall["_servers"].append(number)
    cloud.machines.filter(cloud)
    begin = request.get("start_after_create", bool, default=True)
    made = threading.Event()

    def make() -> None:
        try:
            cloud.machines.install(cloud, row)
            cloud.machines.configure(cloud, row)
            row["status"] = "starting" if begin else "off"
        finally:
            made.set()

    def start() -> None:
        made.wait()
        _on(cloud, row)

    action = cloud.action("create_server", ("server", number), work=make, server=row)
    following = [cloud.action("start_server", ("server", number), work=start, server=row)] if begin else []
    following += [cloud.action("attach_to_network", ("server", number), ("network", net["id"])) for net in nets]
    password = None if row["_ssh_keys"] else secrets.token_urlsafe(12)
    return {"server": view(cloud, row), "action": action, "next_actions": following, "root_password": password}


def _checked(cloud: Cloud, request: Request) -> tuple[Row, list[Row], list[Row]]:
    """The new server, without an id, and its networks and firewalls."""
    name = request.get("name", str, required=True)
    _check_name(name)
    request.refuse("volumes", "automount", "datacenter")
    kind = catalog.server_type(request.get("server_type", (str, int), required=True))
    chosen_image = catalog.image(request.get("image", (str, int), required=True), kind["architecture"])
    place = catalog.location(request.get("location", (str, int), default=kind["locations"][0]["name"]))
    catalog.available(kind, place)
    chosen_labels = labels.check(request.get("labels", dict, default={}))
    keys = [_ssh_key(cloud, wanted) for wanted in request.get("ssh_keys", list, default=[])]
    nets = [cloud.row("networks", number) for number in request.get("networks", list, default=[])]
    walls = [_firewall(cloud, entry) for entry in request.get("firewalls", list, default=[])]
    group_id = request.get("placement_group", int)
    user_data = request.get("user_data", str, default="")
    if len(user_data.encode()) > _USER_DATA_BYTES:
        raise invalid("user_data", f"is longer than {_USER_DATA_BYTES} bytes")
    public = request.get("public_net", dict, default={})
    if public.get("ipv4") or public.get("ipv6"):
        raise invalid("public_net", "given primary IPs are not emulated")
    has_public = public.get("enable_ipv4", True) or public.get("enable_ipv6", True)
    if not has_public and not nets and request.get("start_after_create", bool, default=True):
        raise invalid("public_net", "a server without a network interface cannot be started")
    if walls and not has_public:
        raise ApiError("private_net_only_server", "the server has no public interface for the firewall")
    cloud.free_name("servers", name)
    if group_id is not None:
        simple.room_in_group(cloud, cloud.row("placement_groups", group_id))
    row: Row = {
        "name": name,
        "status": "initializing",
        "created": now(),
        "public_net": {"ipv4": None, "ipv6": None},
        "private_net": [],
        "server_type": kind,
        "location": place,
        "image": chosen_image,
        "protection": {"delete": False, "rebuild": False},
        "labels": chosen_labels,
        "primary_disk_size": kind["disk"],
        "_group": group_id,
        "_ssh_keys": [key["id"] for key in keys],
        "_user_data": user_data,
        "_actions": 0,
    }
    joined: Row = {"private_net": []}
    for net in nets:
        _attachable(cloud, joined, net)
        networks.choose(cloud, net, _zone(row))
        joined["private_net"].append({"network": net["id"]})
    return row, nets, walls


def update(cloud: Cloud, request: Request) -> Row:
    """PUT /servers/{id}."""
    return {"server": view(cloud, cloud.update("servers", request, _check_name))}


def delete(cloud: Cloud, request: Request) -> Row:
    """DELETE /servers/{id}."""
    row = cloud.unlocked(cloud.row("servers", request.number))
    row["status"] = "deleting"

    def work() -> None:
        cloud.machines.destroy(row)
        with cloud.lock:
            for disk in cloud.rows("volumes"):
                if disk["server"] == row["id"]:
                    cloud.machines.pull_volume(disk, None)
                    disk["server"] = None
            for wall in firewalls.of(cloud, row):
                wall["_servers"].remove(row["id"])
            for address in cloud.rows("primary_ips"):
                if address["assignee_id"] == row["id"]:
                    cloud.remove("primary_ips", address)
            cloud.remove("servers", row)
            cloud.machines.filter(cloud)

    return {"action": cloud.action("delete_server", ("server", row["id"]), work=work, server=row)}


# --- power ---------------------------------------------------------------------------------------------------------


def _power(command: str, change: Callable[[Cloud, Row], None]) -> Callable[[Cloud, Request], Row]:
    def run(cloud: Cloud, request: Request) -> Row:
        row = cloud.unlocked(cloud.row("servers", request.number))
        if command == "start_server" and not (any(row["public_net"].values()) or row["private_net"]):
            raise ApiError("service_error", "the server has no network interface; attach a network first")
        work = lambda: change(cloud, row)  # noqa: E731
        return {"action": cloud.action(command, ("server", row["id"]), work=work, server=row)}

    return run


def _on(cloud: Cloud, row: Row) -> None:
    cloud.machines.start(cloud, row)
    row["status"] = "running"


def _off(cloud: Cloud, row: Row) -> None:
    cloud.machines.cut(row)
    row["status"] = "off"


poweron = _power("start_server", _on)
poweroff = _power("stop_server", _off)
shutdown = _power("shutdown_server", lambda cloud, row: cloud.machines.press(row))
reboot = _power("reboot_server", lambda cloud, row: cloud.machines.reboot(row))


# --- networks ------------------------------------------------------------------------------------------------------


def attach_to_network(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/attach_to_network."""
    row = cloud.unlocked(cloud.row("servers", request.number))
    network = cloud.referred("networks", request, "network")
    request.refuse("alias_ips")
    _attachable(cloud, row, network)
    asked = {name: request.get(name, str) for name in ("ip", "ip_range")}
    net = _attach(cloud, row, network, networks.choose(cloud, network, _zone(row), **asked))
    card = cloud.machines.card(cloud, net)

    def work() -> None:
        cloud.machines.configure(cloud, row)
        cloud.machines.plug(row, card)

    resources = (("server", row["id"]), ("network", network["id"]))
    return {"action": cloud.action("attach_to_network", *resources, work=work, server=row)}


def detach_from_network(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/detach_from_network."""
    row = cloud.unlocked(cloud.row("servers", request.number))
    return {"action": _detach(cloud, row, cloud.referred("networks", request, "network"))}


def delete_network(cloud: Cloud, request: Request) -> None:
    """DELETE /networks/{id}: its servers are detached."""
    network = cloud.row("networks", request.number)
    attached = [row for row in cloud.rows("servers") if networks.attachment(row, network["id"])]
    for server in attached:
        cloud.unlocked(server)
    for server in attached:
        _detach(cloud, server, network)
    cloud.machines.disconnect(network)
    cloud.remove("networks", network)


def _detach(cloud: Cloud, row: Row, network: Row) -> Row:
    net = networks.attachment(row, network["id"])
    if net is None:
        raise ApiError("not_found", "the server is not attached to the network")
    card = cloud.machines.card(cloud, net)
    row["private_net"].remove(net)

    def work() -> None:
        cloud.machines.configure(cloud, row)
        cloud.machines.unplug(row, card)

    resources = (("server", row["id"]), ("network", network["id"]))
    return cloud.action("detach_from_network", *resources, work=work, server=row)


def _attachable(cloud: Cloud, row: Row, network: Row) -> None:
    if networks.attachment(row, network["id"]):
        raise ApiError("server_already_attached", "the server is already attached to the network")
    if len(row["private_net"]) >= len(_CARDS):
        raise ApiError("resource_limit_exceeded", f"a server has at most {len(_CARDS)} networks")
    mine = networks.Network(network["ip_range"])
    for net in row["private_net"]:
        other = networks.Network(cloud.row("networks", net["network"])["ip_range"])
        if other.overlaps(mine):
            raise ApiError("networks_overlap", f"{mine} overlaps with the server's network {other}")


def _attach(cloud: Cloud, row: Row, network: Row, ip: str) -> Row:
    used = {net["_name"] for net in row["private_net"]}
    net = {
        "network": network["id"],
        "ip": ip,
        "alias_ips": [],
        "mac_address": bridges.mac(cloud.machines.lab, ip),
        "_nic": cloud.number(),
        "_name": next(name for name in _CARDS if name not in used),
    }
    row["private_net"].append(net)
    return net


# --- internals -----------------------------------------------------------------------------------------------------


def _zone(row: Row) -> str:
    return str(row["location"]["network_zone"])


def _check_name(name: str) -> None:
    if not _HOST_NAME.fullmatch(name):
        raise invalid("name", f"'{name}' is not a valid hostname")


def _ssh_key(cloud: Cloud, wanted: object) -> Row:
    for row in cloud.rows("ssh_keys"):
        if wanted in (row["id"], str(row["id"]), row["name"]):
            return row
    raise missing("SSH key", wanted)


def _firewall(cloud: Cloud, entry: object) -> Row:
    if not isinstance(entry, dict) or not isinstance(entry.get("firewall"), int):
        raise invalid("firewalls", "must be objects with the id of a firewall")
    return cloud.row("firewalls", entry["firewall"])


def _give_addresses(cloud: Cloud, row: Row, public: dict[str, Any]) -> None:
    for version in ("ipv4", "ipv6"):
        if not public.get(f"enable_{version}", True):
            continue
        if version == "ipv4":
            ip = _free_public(cloud)
            pointer: Any = f"static.{'.'.join(reversed(ip.split('.')))}.clients.your-server.de"
        else:
            # A /64 for each server in the range.
            start = int(cloud.machines.public_six.network_address) + (row["id"] % 60000 << 64)
            ip, pointer = str(ipaddress.IPv6Network((start, 64))), []
        number = cloud.number()
        cloud.add(
            "primary_ips",
            {
                "id": number,
                "name": f"primary_ip-{number}",
                "ip": ip,
                "type": version,
                "assignee_id": row["id"],
                "assignee_type": "server",
                "auto_delete": True,
                "blocked": False,
                "created": now(),
                "dns_ptr": [{"ip": ip, "dns_ptr": pointer}] if version == "ipv4" else [],
                "labels": {},
                "location": row["location"],
                "protection": {"delete": False},
            },
        )
        row["public_net"][version] = {"id": number, "ip": ip, "blocked": False, "dns_ptr": pointer}


def _free_public(cloud: Cloud) -> str:
    """A free public address."""
    taken = {row["ip"] for row in cloud.rows("primary_ips")}
    # .2 to .9 are left for tests, the upper half for strangers (machines of the lab outside the cloud).
    addresses = (str(cloud.machines.public[n]) for n in range(10, 128))
    return next(address for address in addresses if address not in taken)
