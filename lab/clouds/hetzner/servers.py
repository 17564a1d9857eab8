"""Servers."""

import re
import secrets
import threading
from collections.abc import Callable
from typing import Any

from .. import wires
from . import catalog, labels, machines, networks, simple, volumes
from .core import Cloud, Request, Row, now, shown
from .errors import ApiError, invalid, missing

_HOST_NAME = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_USER_DATA_BYTES = 32 * 1024
_MOST_FIREWALLS = 5
_MOST_NETWORKS = 3


def view(cloud: Cloud, server: Row) -> Row:
    """A server as the API shows it."""
    group = cloud.find("placement_groups", server["_group"])
    public = server["public_net"]
    applied = [{"id": row["id"], "status": "applied"} for row in machines.firewalls_of(cloud, server)]
    return {
        **shown(server),
        "status": machines.status(cloud, server),
        "locked": bool(server.get("_actions", 0)),
        "public_net": {**public, "floating_ips": [], "firewalls": applied},
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
    row, nets, disks, firewalls = _checked(cloud, request)
    cloud.add("servers", row)
    number = row["id"]
    _give_addresses(cloud, row, request)
    for net in nets:
        ip = networks.choose(cloud, net, _zone(row))
        _attach(cloud, row, net, ip, [])
    for disk in disks:
        volumes.connect(cloud, disk, row)
    for firewall in firewalls:
        firewall["_servers"].append(number)
    machines.filter_all(cloud)
    password = None if row["_ssh_keys"] else secrets.token_urlsafe(12)
    begin = request.get("start_after_create", bool, default=True)
    made = threading.Event()

    def make(progress: Callable[[int], None]) -> None:
        try:
            machines.make(cloud, row)
            progress(50)
            machines.reconfigure(cloud, row)
            with cloud.change():
                row["status"] = "starting" if begin else "off"
        finally:
            made.set()

    def start(_: Callable[[int], None]) -> None:
        made.wait()
        machines.start(cloud, row)

    action = cloud.action("create_server", ("server", number), work=make, server=row)
    following = [cloud.action("start_server", ("server", number), work=start, server=row)] if begin else []
    about = [("attach_to_network", "network", net["id"]) for net in nets]
    about += [("attach_volume", "volume", disk["id"]) for disk in disks]
    following += [cloud.action(command, ("server", number), (kind, other)) for command, kind, other in about]
    return {"server": view(cloud, row), "action": action, "next_actions": following, "root_password": password}


def _checked(cloud: Cloud, request: Request) -> tuple[Row, list[Row], list[Row], list[Row]]:
    """The new server, without an id, and its networks, volumes and firewalls."""
    name = _host_name(request.get("name", str, required=True))
    if "datacenter" in request.body and request.body["datacenter"] is not None:
        raise invalid("datacenter", "was removed; use location")
    kind = catalog.server_type(request.get("server_type", (str, int), required=True))
    chosen_image = catalog.image(request.get("image", (str, int), required=True), kind["architecture"])
    disks = [cloud.row("volumes", number) for number in request.get("volumes", list, default=[])]
    wanted = request.get("location", (str, int))
    place = catalog.location(wanted) if wanted is not None else None
    if place is None:
        names = [one["name"] for one in kind["locations"]]
        place = disks[0]["location"] if disks else catalog.location(names[0])
    catalog.available(kind, place)
    chosen_labels = labels.check(request.get("labels", dict, default={}))
    keys = [_ssh_key(cloud, wanted) for wanted in request.get("ssh_keys", list, default=[])]
    nets = [cloud.row("networks", number) for number in request.get("networks", list, default=[])]
    firewalls = [_firewall(cloud, entry) for entry in request.get("firewalls", list, default=[])]
    group_id = request.get("placement_group", int)
    user_data = request.get("user_data", str, default="")
    if len(user_data.encode()) > _USER_DATA_BYTES:
        raise invalid("user_data", f"is longer than {_USER_DATA_BYTES} bytes")
    public = request.get("public_net", dict, default={})
    has_public = public.get("enable_ipv4", True) or public.get("enable_ipv6", True)
    if not has_public and not nets and request.get("start_after_create", bool, default=True):
        raise invalid("public_net", "a server without a network interface cannot be started")
    if firewalls and not has_public:
        raise ApiError("private_net_only_server", "the server has no public interface for the firewall")
    if len(firewalls) > _MOST_FIREWALLS:
        raise ApiError("resource_limit_exceeded", f"a server has at most {_MOST_FIREWALLS} firewalls")
    cloud.free_name("servers", name)
    for disk in disks:
        volumes.connectable(disk, place)
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
    volumes.room(len(disks))
    joined: Row = {"private_net": []}
    for net in nets:
        _attachable(cloud, joined, net)
        networks.choose(cloud, net, _zone(row))
        joined["private_net"].append({"network": net["id"]})
    return row, nets, disks, firewalls


def update(cloud: Cloud, request: Request) -> Row:
    """PUT /servers/{id}."""
    row = cloud.update("servers", request, _host_name)
    machines.filter_all(cloud)  # firewalls may be applied by labels
    return {"server": view(cloud, row)}


def delete(cloud: Cloud, request: Request) -> Row:
    """DELETE /servers/{id}."""
    row = cloud.unlocked(cloud.row("servers", request.path[0]))
    if row["protection"]["delete"]:
        raise ApiError("protected", "server deletion is protected")
    row["status"] = "deleting"

    def work(_: Callable[[int], None]) -> None:
        machines.guest(cloud, row).destroy()
        with cloud.change():
            for disk in cloud.rows("volumes"):
                if disk["server"] == row["id"]:
                    volumes.disconnect(cloud, disk)
            for firewall in cloud.rows("firewalls"):
                firewall["_servers"] = [one for one in firewall["_servers"] if one != row["id"]]
            for address in cloud.rows("primary_ips"):
                if address["assignee_id"] == row["id"]:
                    cloud.remove("primary_ips", address)
            cloud.remove("servers", row)
            machines.filter_all(cloud)

    return {"action": cloud.action("delete_server", ("server", row["id"]), work=work, server=row)}


# --- power ---------------------------------------------------------------------------------------------------------


def _power(command: str, change: Callable[[Cloud, Row], None]) -> Callable[[Cloud, Request], Row]:
    def run(cloud: Cloud, request: Request) -> Row:
        row = cloud.unlocked(cloud.row("servers", request.path[0]))
        if command == "start_server" and not machines.cards(cloud, row):
            raise ApiError("service_error", "the server has no network interface; attach a network first")

        def work(_: Callable[[int], None]) -> None:
            change(cloud, row)

        return {"action": cloud.action(command, ("server", row["id"]), work=work, server=row)}

    return run


def _on(cloud: Cloud, row: Row) -> None:
    if not machines.guest(cloud, row).running:
        machines.start(cloud, row)


def _off(cloud: Cloud, row: Row) -> None:
    machines.guest(cloud, row).cut_power()
    with cloud.change():
        row["status"] = "off"


def _shutdown(cloud: Cloud, row: Row) -> None:
    machines.guest(cloud, row).press_power_button()


def _reboot(cloud: Cloud, row: Row) -> None:
    machines.guest(cloud, row).reboot()


def _reset(cloud: Cloud, row: Row) -> None:
    machines.guest(cloud, row).cut_power()
    machines.start(cloud, row)


power_on = _power("start_server", _on)
power_off = _power("stop_server", _off)
shutdown = _power("shutdown_server", _shutdown)
reboot = _power("reboot_server", _reboot)
reset = _power("reset_server", _reset)


def rebuild(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/rebuild."""
    row = cloud.unlocked(cloud.row("servers", request.path[0]))
    if row["protection"]["rebuild"]:
        raise ApiError("protected", "server rebuild is protected")
    chosen = catalog.image(request.get("image", (str, int), required=True), row["server_type"]["architecture"])
    user_data = request.get("user_data", str)
    if user_data is not None:
        if len(user_data.encode()) > _USER_DATA_BYTES:
            raise invalid("user_data", f"is longer than {_USER_DATA_BYTES} bytes")
        row["_user_data"] = user_data
    row["image"] = chosen
    row["status"] = "rebuilding"

    def work(_: Callable[[int], None]) -> None:
        machines.guest(cloud, row).cut_power()
        machines.make(cloud, row)
        machines.start(cloud, row)

    action = cloud.action("rebuild_server", ("server", row["id"]), work=work, server=row)
    return {"action": action, "root_password": None if row["_ssh_keys"] else secrets.token_urlsafe(12)}


def change_type(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/change_type."""
    row = _stopped(cloud, request)
    kind = catalog.server_type(request.get("server_type", (str, int), required=True))
    upgrade = request.get("upgrade_disk", bool, required=True)
    if kind["architecture"] != row["server_type"]["architecture"] or kind["disk"] < row["primary_disk_size"]:
        raise ApiError("invalid_server_type", "the server type does not fit for the server")
    catalog.available(kind, row["location"])
    row["server_type"] = kind
    if upgrade:
        row["primary_disk_size"] = kind["disk"]
    return {"action": cloud.action("change_server_type", ("server", row["id"]))}


def change_protection(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/change_protection."""
    row = cloud.unlocked(cloud.row("servers", request.path[0]))
    wanted = {key: request.get(key, bool, default=row["protection"][key]) for key in ("delete", "rebuild")}
    if wanted["delete"] != wanted["rebuild"]:
        raise invalid("rebuild", "delete and rebuild need to have the same value")
    row["protection"] = wanted
    return {"action": cloud.action("change_protection", ("server", row["id"]))}


# --- networks and placement groups ---------------------------------------------------------------------------------


def attach_to_network(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/attach_to_network."""
    row = cloud.unlocked(cloud.row("servers", request.path[0]))
    network = cloud.referred("networks", request, "network")
    aliases: list[Any] = request.get("alias_ips", list, default=[])
    _attachable(cloud, row, network)
    ip, ip_range = request.get("ip", str), request.get("ip_range", str)
    ip = networks.choose(cloud, network, _zone(row), ip=ip, ip_range=ip_range, aliases=aliases)
    net = _attach(cloud, row, network, ip, aliases)
    card = machines.card(cloud, net)

    def work(_: Callable[[int], None]) -> None:
        machines.reconfigure(cloud, row)
        machines.guest(cloud, row).plug(card)

    resources = (("server", row["id"]), ("network", network["id"]))
    return {"action": cloud.action("attach_to_network", *resources, work=work, server=row)}


def detach_from_network(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/detach_from_network."""
    row = cloud.unlocked(cloud.row("servers", request.path[0]))
    network = cloud.referred("networks", request, "network")
    return {"action": detach(cloud, row, network)}


def detach(cloud: Cloud, row: Row, network: Row) -> Row:
    """Take a server out of a network."""
    net = _attached(row, network)
    card = machines.card(cloud, net)
    row["private_net"].remove(net)

    def work(_: Callable[[int], None]) -> None:
        machines.reconfigure(cloud, row)
        machines.guest(cloud, row).unplug(card)

    resources = (("server", row["id"]), ("network", network["id"]))
    return cloud.action("detach_from_network", *resources, work=work, server=row)


def change_alias_ips(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/change_alias_ips."""
    row = cloud.unlocked(cloud.row("servers", request.path[0]))
    network = cloud.referred("networks", request, "network")
    net = _attached(row, network)
    aliases = request.get("alias_ips", list, required=True)
    before, net["alias_ips"] = net["alias_ips"], []
    try:
        networks.choose(cloud, network, _zone(row), aliases=aliases)
    except ApiError:
        net["alias_ips"] = before
        raise
    net["alias_ips"] = aliases
    resources = (("server", row["id"]), ("network", network["id"]))
    return {"action": cloud.action("change_alias_ips", *resources)}


def add_to_group(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/add_to_placement_group."""
    group = cloud.referred("placement_groups", request, "placement_group")
    row = _stopped(cloud, request)
    if row["_group"] is not None:
        raise ApiError("already_in_placement_group", "the server is already part of a placement group")
    simple.room_in_group(cloud, group)
    row["_group"] = group["id"]
    resources = (("server", row["id"]), ("placement_group", group["id"]))
    return {"action": cloud.action("add_to_placement_group", *resources)}


def remove_from_group(cloud: Cloud, request: Request) -> Row:
    """POST /servers/{id}/actions/remove_from_placement_group."""
    row = cloud.unlocked(cloud.row("servers", request.path[0]))
    if row["_group"] is None:
        raise ApiError("not_found", "the server is in no placement group")
    row["_group"] = None
    return {"action": cloud.action("remove_from_placement_group", ("server", row["id"]))}


def _stopped(cloud: Cloud, request: Request) -> Row:
    row = cloud.unlocked(cloud.row("servers", request.path[0]))
    if machines.status(cloud, row) != "off":
        raise ApiError("server_not_stopped", "the server must be stopped for this")
    return row


def _attachable(cloud: Cloud, row: Row, network: Row) -> None:
    if any(net["network"] == network["id"] for net in row["private_net"]):
        raise ApiError("server_already_attached", "the server is already attached to the network")
    if len(row["private_net"]) >= _MOST_NETWORKS:
        raise ApiError("resource_limit_exceeded", f"a server has at most {_MOST_NETWORKS} networks")
    attached = [
        one for one in cloud.rows("servers") if any(net["network"] == network["id"] for net in one["private_net"])
    ]
    if len(attached) >= networks.MOST_SERVERS:
        raise ApiError("resource_limit_exceeded", f"a network has at most {networks.MOST_SERVERS} servers")
    mine = networks.Network(network["ip_range"])
    for net in row["private_net"]:
        other = networks.Network(cloud.row("networks", net["network"])["ip_range"])
        if other.overlaps(mine):
            raise ApiError("networks_overlap", f"{mine} overlaps with the server's network {other}")


def _attach(cloud: Cloud, row: Row, network: Row, ip: str, aliases: list[Any]) -> Row:
    number = cloud.number()
    used = {net["_name"] for net in row["private_net"]}
    name = next(name for name in ("enp7s0", "enp8s0", "enp9s0") if name not in used)
    net = {
        "network": network["id"],
        "ip": ip,
        "alias_ips": aliases,
        "mac_address": wires.mac(cloud.lab.id, ip),
        "_nic": number,
        "_name": name,
    }
    row["private_net"].append(net)
    return net


def _attached(row: Row, network: Row) -> Row:
    for net in row["private_net"]:
        if net["network"] == network["id"]:
            found: Row = net
            return found
    raise ApiError("not_found", "the server is not attached to the network")


# --- inside --------------------------------------------------------------------------------------------------------


def _zone(row: Row) -> str:
    return str(row["location"]["network_zone"])


def _host_name(name: str) -> str:
    if not _HOST_NAME.fullmatch(name):
        raise invalid("name", f"'{name}' is no valid hostname")
    return name


def _ssh_key(cloud: Cloud, wanted: object) -> Row:
    rows = cloud.rows("ssh_keys")
    found = [row for row in rows if row["id"] == wanted or row["name"] == wanted or str(row["id"]) == wanted]
    if not found:
        raise missing("SSH key", wanted)
    return found[0]


def _firewall(cloud: Cloud, entry: object) -> Row:
    if not isinstance(entry, dict) or not isinstance(entry.get("firewall"), int):
        raise invalid("firewalls", "must be objects with the id of a firewall")
    return cloud.row("firewalls", entry["firewall"])


def _give_addresses(cloud: Cloud, row: Row, request: Request) -> None:
    public = request.get("public_net", dict, default={})
    for version in ("ipv4", "ipv6"):
        if not public.get(f"enable_{version}", True):
            continue
        if public.get(version) is not None:
            raise invalid("public_net", "given primary IPs are not emulated")
        number = cloud.number()
        if version == "ipv4":
            ip = machines.free_public(cloud)
            pointers: Any = f"static.{'.'.join(reversed(ip.split('.')))}.clients.your-server.de"
        else:
            ip = f"{list(machines.public_six(cloud).subnets(new_prefix=64))[row['id'] % 60000]}"
            pointers = []
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
                "dns_ptr": [{"ip": ip, "dns_ptr": pointers}] if version == "ipv4" else [],
                "labels": {},
                "location": row["location"],
                "protection": {"delete": False},
            },
        )
        row["public_net"][version] = {"id": number, "ip": ip, "blocked": False, "dns_ptr": pointers}
