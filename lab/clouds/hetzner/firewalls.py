"""Firewalls."""

import ipaddress
import re
from typing import Any

from . import labels, machines
from .core import Cloud, Request, Row, now
from .errors import ApiError, invalid

_PROTOCOLS = ("tcp", "udp", "icmp", "esp", "gre")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?|any")
_MOST_RULES, _MOST_IPS, _MOST_PER_SERVER, _LONGEST_NAME = 50, 100, 5, 128


def view(cloud: Cloud, row: Row) -> Row:
    """A firewall as the API shows it."""
    applied: list[Row] = [{"type": "server", "server": {"id": number}} for number in row["_servers"]]
    for text in row["_selectors"]:
        matching = labels.selector(text)
        servers = [one for one in cloud.rows("servers") if matching(one["labels"]) and machines.applies(row, one)]
        applied.append(
            {
                "type": "label_selector",
                "label_selector": {"selector": text},
                "applied_to_resources": [{"type": "server", "server": {"id": one["id"]}} for one in servers],
            }
        )
    return {**{key: value for key, value in row.items() if key[0] != "_"}, "applied_to": applied}


def create(cloud: Cloud, request: Request) -> Row:
    """POST /firewalls."""
    name = _named(request.get("name", str, required=True))
    rules = _rules(request.get("rules", list, default=[]))
    chosen = labels.check(request.get("labels", dict, default={}))
    cloud.free_name("firewalls", name)
    row: Row = {"name": name, "labels": chosen, "created": now(), "rules": rules, "_servers": [], "_selectors": []}
    _apply(cloud, row, request.get("apply_to", list, default=[]), missing_status=422)
    cloud.add("firewalls", row)
    machines.filter_all(cloud)
    return {"firewall": view(cloud, row), "actions": [_set(cloud, row), *_applied(cloud, row, row["_servers"])]}


def update(cloud: Cloud, request: Request) -> Row:
    """PUT /firewalls/{id}."""
    return {"firewall": view(cloud, cloud.update("firewalls", request, _named))}


def delete(cloud: Cloud, request: Request) -> None:
    """DELETE /firewalls/{id}."""
    row = cloud.row("firewalls", request.path[0])
    if row["_servers"] or row["_selectors"]:
        raise ApiError("resource_in_use", "the firewall is still applied to a resource")
    cloud.remove("firewalls", row)


def set_rules(cloud: Cloud, request: Request) -> Row:
    """POST /firewalls/{id}/actions/set_rules."""
    row = cloud.row("firewalls", request.path[0])
    row["rules"] = _rules(request.get("rules", list, required=True))
    machines.filter_all(cloud)
    servers = [one["id"] for one in cloud.rows("servers") if machines.applies(row, one)]
    return {"actions": [_set(cloud, row), *_applied(cloud, row, servers)]}


def apply(cloud: Cloud, request: Request) -> Row:
    """POST /firewalls/{id}/actions/apply_to_resources."""
    row = cloud.row("firewalls", request.path[0])
    servers = _apply(cloud, row, request.get("apply_to", list, required=True), missing_status=404)
    machines.filter_all(cloud)
    return {"actions": _applied(cloud, row, servers)}


def remove(cloud: Cloud, request: Request) -> Row:
    """POST /firewalls/{id}/actions/remove_from_resources."""
    row = cloud.row("firewalls", request.path[0])
    actions = []
    for kind, value in _resources(request.get("remove_from", list, required=True)):
        if kind == "label_selector":
            if value not in row["_selectors"]:
                raise ApiError("firewall_resource_not_found", f"not applied to '{value}'", status=404)
            row["_selectors"].remove(value)
            actions.append(cloud.action("remove_firewall", ("firewall", row["id"])))
            continue
        server = cloud.find("servers", value)
        if server is None:
            raise ApiError("firewall_resource_not_found", f"there is no server {value}", status=404)
        if value not in row["_servers"] and machines.applies(row, server):
            raise ApiError("firewall_managed_by_label_selector", "the firewall is applied by a label selector")
        if value in row["_servers"]:
            row["_servers"].remove(value)
        actions.append(cloud.action("remove_firewall", ("firewall", row["id"]), ("server", value)))
    machines.filter_all(cloud)
    return {"actions": actions}


def _set(cloud: Cloud, row: Row) -> Row:
    return cloud.action("set_firewall_rules", ("firewall", row["id"]))


def _applied(cloud: Cloud, row: Row, servers: list[int]) -> list[Row]:
    return [cloud.action("apply_firewall", ("firewall", row["id"]), ("server", number)) for number in servers]


def _apply(cloud: Cloud, row: Row, entries: list[Any], *, missing_status: int) -> list[int]:
    """Apply a firewall to all or none of these; returns the servers."""
    resources = _resources(entries)
    if len(set(resources)) != len(resources):
        raise ApiError("server_already_added", "a resource was given more than once")
    for kind, value in resources:
        if kind == "label_selector":
            labels.selector(str(value))
            if value in row["_selectors"]:
                raise ApiError("firewall_already_applied", f"already applied to '{value}'")
            continue
        server = cloud.find("servers", value)
        if server is None:
            raise ApiError("firewall_resource_not_found", f"there is no server {value}", status=missing_status)
        if not (server["public_net"]["ipv4"] or server["public_net"]["ipv6"]):
            raise ApiError("private_net_only_server", "the server has no public interface")
        if value in row["_servers"]:
            raise ApiError("firewall_already_applied", f"already applied to server {value}")
        if len(machines.firewalls_of(cloud, server)) >= _MOST_PER_SERVER:
            raise ApiError("resource_limit_exceeded", f"a server has at most {_MOST_PER_SERVER} firewalls")
    row["_servers"] += [value for kind, value in resources if kind == "server"]
    row["_selectors"] += [value for kind, value in resources if kind == "label_selector"]
    return [int(value) for kind, value in resources if kind == "server"]


def _resources(entries: list[Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for entry in entries:
        match entry:
            case {"type": "server", "server": {"id": int(number)}}:
                found.append(("server", number))
            case {"type": "label_selector", "label_selector": {"selector": str(text)}}:
                found.append(("label_selector", text))
            case _:
                raise invalid("apply_to", "must be servers with an id or label selectors")
    return found


def _named(name: str) -> str:
    if not 0 < len(name) <= _LONGEST_NAME:
        raise invalid("name", f"must have 1 to {_LONGEST_NAME} characters")
    return name


def _rules(entries: list[Any]) -> list[Row]:
    if len(entries) > _MOST_RULES:
        raise invalid("rules", f"at most {_MOST_RULES} rules are allowed")
    return [_rule(number, entry) for number, entry in enumerate(entries)]


def _rule(number: int, entry: object) -> Row:
    where = f"rules.{number}"
    if not isinstance(entry, dict):
        raise invalid(where, "must be an object")
    request = Request((), {}, entry)
    direction = request.get("direction", str, required=True)
    if direction not in ("in", "out"):
        raise invalid(f"{where}.direction", "must be in or out")
    protocol = request.get("protocol", str, required=True)
    if protocol not in _PROTOCOLS:
        raise invalid(f"{where}.protocol", f"must be one of {', '.join(_PROTOCOLS)}")
    port = request.get("port", str)
    if (port is not None) != (protocol in ("tcp", "udp")):
        raise invalid(f"{where}.port", "is required for tcp and udp, and for these only")
    if port is not None and not _right_ports(port):
        raise invalid(f"{where}.port", f"'{port}' is no port, range of ports, or any")
    ips = {key: request.get(key, list, default=[]) for key in ("source_ips", "destination_ips")}
    mine, other = ("source_ips", "destination_ips") if direction == "in" else ("destination_ips", "source_ips")
    if not ips[mine] or ips[other]:
        raise invalid(f"{where}.{mine}", f"is required for direction {direction}, and {other} must be empty")
    if len(ips[mine]) > _MOST_IPS:
        raise invalid(f"{where}.{mine}", f"at most {_MOST_IPS} ranges are allowed")
    for text in ips[mine]:
        if not _is_range(text):
            raise invalid(f"{where}.{mine}", f"'{text}' is no range in CIDR notation with empty host bits")
    description = request.get("description", str)
    if len(description or "") > 255:
        raise invalid(f"{where}.description", "is longer than 255 characters")
    return {"direction": direction, "protocol": protocol, "port": port, "description": description, **ips}


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
