"""Firewalls."""

import ipaddress
import re
from typing import Any

from . import labels
from .core import Cloud, Request, Row, now, shown
from .errors import ApiError, invalid

_PROTOCOLS = ("tcp", "udp", "icmp")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?|any")
_MOST_RULES, _MOST_IPS, _LONGEST_NAME = 50, 100, 128


def view(_: Cloud, row: Row) -> Row:
    """A firewall as the API shows it."""
    return {**shown(row), "applied_to": [{"type": "server", "server": {"id": number}} for number in row["_servers"]]}


def of(cloud: Cloud, server: Row) -> list[Row]:
    """The firewalls that are applied to a server."""
    return [row for row in cloud.rows("firewalls") if server["id"] in row["_servers"]]


def create(cloud: Cloud, request: Request) -> Row:
    """POST /firewalls."""
    name = request.get("name", str, required=True)
    _check_name(name)
    rules = _rules(request.get("rules", list, default=[]))
    chosen = labels.check(request.get("labels", dict, default={}))
    cloud.free_name("firewalls", name)
    row: Row = {"name": name, "labels": chosen, "created": now(), "rules": rules, "_servers": []}
    _apply(cloud, row, request.get("apply_to", list, default=[]), missing_status=422)
    cloud.add("firewalls", row)
    cloud.machines.filter(cloud)
    return {"firewall": view(cloud, row), "actions": [_set(cloud, row), *_applied(cloud, row, row["_servers"])]}


def update(cloud: Cloud, request: Request) -> Row:
    """PUT /firewalls/{id}."""
    return {"firewall": view(cloud, cloud.update("firewalls", request, _check_name))}


def delete(cloud: Cloud, request: Request) -> None:
    """DELETE /firewalls/{id}."""
    row = cloud.row("firewalls", request.number)
    if row["_servers"]:
        raise ApiError("resource_in_use", "the firewall is still applied to a resource")
    cloud.remove("firewalls", row)


def set_rules(cloud: Cloud, request: Request) -> Row:
    """POST /firewalls/{id}/actions/set_rules."""
    row = cloud.row("firewalls", request.number)
    row["rules"] = _rules(request.get("rules", list, required=True))
    cloud.machines.filter(cloud)
    return {"actions": [_set(cloud, row), *_applied(cloud, row, row["_servers"])]}


def apply_to_resources(cloud: Cloud, request: Request) -> Row:
    """POST /firewalls/{id}/actions/apply_to_resources."""
    row = cloud.row("firewalls", request.number)
    servers = _apply(cloud, row, request.get("apply_to", list, required=True), missing_status=404)
    cloud.machines.filter(cloud)
    return {"actions": _applied(cloud, row, servers)}


def remove_from_resources(cloud: Cloud, request: Request) -> Row:
    """POST /firewalls/{id}/actions/remove_from_resources."""
    row = cloud.row("firewalls", request.number)
    servers = _servers(request.get("remove_from", list, required=True))
    for number in servers:
        if cloud.find("servers", number) is None:
            raise ApiError("firewall_resource_not_found", f"there is no server {number}", status=404)
    row["_servers"] = [number for number in row["_servers"] if number not in servers]
    cloud.machines.filter(cloud)
    command = "remove_firewall"
    return {"actions": [cloud.action(command, ("firewall", row["id"]), ("server", number)) for number in servers]}


def _set(cloud: Cloud, row: Row) -> Row:
    return cloud.action("set_firewall_rules", ("firewall", row["id"]))


def _applied(cloud: Cloud, row: Row, servers: list[int]) -> list[Row]:
    return [cloud.action("apply_firewall", ("firewall", row["id"]), ("server", number)) for number in servers]


def _apply(cloud: Cloud, row: Row, entries: list[Any], *, missing_status: int) -> list[int]:
    """Apply a firewall to all of these or to none; returns the servers."""
    servers = _servers(entries)
    for number in servers:
        server = cloud.find("servers", number)
        if server is None:
            raise ApiError("firewall_resource_not_found", f"there is no server {number}", status=missing_status)
        if not (server["public_net"]["ipv4"] or server["public_net"]["ipv6"]):
            raise ApiError("private_net_only_server", "the server has no public interface")
        if number in row["_servers"]:
            raise ApiError("firewall_already_applied", f"already applied to server {number}")
    row["_servers"] += servers
    return servers


def _servers(entries: list[Any]) -> list[int]:
    found: list[int] = []
    for entry in entries:
        match entry:
            case {"type": "server", "server": {"id": int(number)}}:
                found.append(number)
            case _:
                raise invalid("apply_to", "must be servers with an id; label selectors are not emulated")
    if len(set(found)) != len(found):
        raise ApiError("server_already_added", "a server was given more than once")
    return found


def _check_name(name: str) -> None:
    if len(name) > _LONGEST_NAME:
        raise invalid("name", f"must have 1 to {_LONGEST_NAME} characters")


def _rules(entries: list[Any]) -> list[Row]:
    if len(entries) > _MOST_RULES:
        raise invalid("rules", f"at most {_MOST_RULES} rules are allowed")
    return [_rule(number, entry) for number, entry in enumerate(entries)]


def _rule(number: int, entry: object) -> Row:
    where = f"rules.{number}"
    if not isinstance(entry, dict):
        raise invalid(where, "must be an object")
    request = Request(0, {}, entry)
    if request.get("direction", str, required=True) != "in":
        raise invalid(f"{where}.direction", "must be in; rules for outgoing traffic are not emulated")
    protocol = request.get("protocol", str, required=True)
    if protocol not in _PROTOCOLS:
        raise invalid(f"{where}.protocol", f"must be one of {', '.join(_PROTOCOLS)}; no other is emulated")
    port = request.get("port", str)
    if (port is not None) != (protocol in ("tcp", "udp")):
        raise invalid(f"{where}.port", "is required for tcp and udp, and for these only")
    if port is not None and not _right_ports(port):
        raise invalid(f"{where}.port", f"'{port}' is not a port, a range of ports, or any")
    sources = request.get("source_ips", list, required=True)
    if not sources or request.get("destination_ips", list):
        raise invalid(f"{where}.source_ips", "is required for direction in, and destination_ips must be empty")
    if len(sources) > _MOST_IPS:
        raise invalid(f"{where}.source_ips", f"at most {_MOST_IPS} ranges are allowed")
    for text in sources:
        if not _is_range(text):
            raise invalid(f"{where}.source_ips", f"'{text}' is not a range in CIDR notation with empty host bits")
    description = request.get("description", str)
    if len(description or "") > 255:
        raise invalid(f"{where}.description", "is longer than 255 characters")
    rule = {"direction": "in", "protocol": protocol, "port": port, "description": description}
    return {**rule, "source_ips": sources, "destination_ips": []}


def _is_range(text: object) -> bool:
    try:
        ipaddress.ip_network(text if isinstance(text, str) else "")
    except ValueError:
        return False
    return "/" in str(text)


def _right_ports(text: str) -> bool:
    match = _PORTS.fullmatch(text)
    if not match:
        return False
    if text == "any":
        return True
    first, last = int(match[1]), int(match[2] or match[1])
    return 1 <= first <= last <= 65535
