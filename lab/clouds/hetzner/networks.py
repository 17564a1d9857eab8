"""Networks, their subnets and routes."""

import ipaddress
from collections.abc import Iterator

from . import catalog, labels
from .core import Cloud, Request, Row, now
from .errors import ApiError, invalid

Network = ipaddress.IPv4Network
_PRIVATE = [Network("10.0.0.0/8"), Network("172.16.0.0/12"), Network("192.168.0.0/16")]
_PUBLIC_GATEWAY = ipaddress.IPv4Address("172.31.1.1")


def gateway(network: Row) -> ipaddress.IPv4Address:
    """The address of the cloud's router in a network."""
    return Network(network["ip_range"]).network_address + 1


def view(cloud: Cloud, network: Row) -> Row:
    """A network as the API shows it."""
    servers = [row["id"] for row in cloud.rows("servers") if attachment(row, network["id"])]
    return {**network, "servers": servers, "load_balancers": [], "expose_routes_to_vswitch": False}


def create(cloud: Cloud, request: Request) -> Row:
    """POST /networks."""
    name = request.get("name", str, required=True)
    request.refuse("subnets", "routes", "expose_routes_to_vswitch")
    ip_range = parse_range("ip_range", request.get("ip_range", str, required=True), longest=24)
    chosen = labels.check(request.get("labels", dict, default={}))
    cloud.free_name("networks", name)
    row: Row = {
        "name": name,
        "ip_range": str(ip_range),
        "subnets": [],
        "routes": [],
        "protection": {"delete": False},
        "labels": chosen,
        "created": now(),
    }
    cloud.add("networks", row)
    cloud.machines.connect(row)
    return {"network": view(cloud, row)}


def update(cloud: Cloud, request: Request) -> Row:
    """PUT /networks/{id}."""
    return {"network": view(cloud, cloud.update("networks", request))}


def add_subnet(cloud: Cloud, request: Request) -> Row:
    """POST /networks/{id}/actions/add_subnet."""
    row = cloud.row("networks", request.number)
    _add_subnet(row, request)
    return {"action": cloud.action("add_subnet", ("network", row["id"]))}


def delete_subnet(cloud: Cloud, request: Request) -> Row:
    """POST /networks/{id}/actions/delete_subnet."""
    row = cloud.row("networks", request.number)
    wanted = parse_range("ip_range", request.get("ip_range", str, required=True), longest=30)
    subnet = next((one for one in row["subnets"] if one["ip_range"] == str(wanted)), None)
    if subnet is None:
        raise ApiError("not_found", f"the network has no subnet {wanted}")
    if any(ipaddress.IPv4Address(address) in wanted for address in used(cloud, row)):
        raise ApiError("service_error", "cannot remove subnet because servers are attached to it")
    row["subnets"].remove(subnet)
    return {"action": cloud.action("delete_subnet", ("network", row["id"]))}


def add_route(cloud: Cloud, request: Request) -> Row:
    """POST /networks/{id}/actions/add_route."""
    row = cloud.row("networks", request.number)
    _add_route(row, request)
    cloud.machines.connect(row)
    return {"action": cloud.action("add_route", ("network", row["id"]))}


def delete_route(cloud: Cloud, request: Request) -> Row:
    """POST /networks/{id}/actions/delete_route."""
    row = cloud.row("networks", request.number)
    wanted = {key: request.get(key, str, required=True) for key in ("destination", "gateway")}
    if wanted not in row["routes"]:
        raise ApiError("not_found", "the network has no such route")
    row["routes"].remove(wanted)
    cloud.machines.connect(row)
    return {"action": cloud.action("delete_route", ("network", row["id"]))}


def parse_range(field: str, text: str, *, longest: int) -> Network:
    """A private IPv4 range.

    Raises:
        ApiError: `invalid_input`.
    """
    try:
        network = Network(text)
    except ValueError as error:
        raise invalid(field, f"'{text}' is not an IPv4 range: {error}") from None
    if not any(network.subnet_of(private) for private in _PRIVATE):
        raise invalid(field, f"{network} is not in one of the private ranges of RFC1918")
    if network.prefixlen > longest:
        raise invalid(field, f"{network} is smaller than a /{longest}")
    return network


def subnets(network: Row, zone: str | None = None) -> list[Network]:
    """The subnets of a network, in the order of their ranges; with `zone`, only those in it."""
    return sorted(Network(one["ip_range"]) for one in network["subnets"] if zone in (None, one["network_zone"]))


def used(cloud: Cloud, network: Row) -> set[str]:
    """The addresses in a network that servers have."""
    nets = (attachment(server, network["id"]) for server in cloud.rows("servers"))
    return {net["ip"] for net in nets if net}


def choose(cloud: Cloud, network: Row, zone: str, *, ip: str | None = None, ip_range: str | None = None) -> str:
    """The address of a server that is being attached to a network.

    Raises:
        ApiError: `ip_not_available`, `no_subnet_available`, `invalid_input`.
    """
    here = subnets(network, zone)
    if ip_range is not None:
        wanted = parse_range("ip_range", ip_range, longest=30)
        if wanted not in subnets(network):
            raise invalid("ip_range", f"{wanted} is not a subnet of the network")
        here = [one for one in here if one == wanted]
    if not here:
        raise ApiError("no_subnet_available", "the network has no subnet in the network zone of the server")
    taken = used(cloud, network)
    if ip is not None:
        _check_address(ip, network, here, taken)
        return ip
    # The last subnet comes first, as in the real service.
    for candidate in (address for one in reversed(here) for address in _free(one, network)):
        if str(candidate) not in taken:
            return str(candidate)
    raise ApiError("no_subnet_available", "no free address is left in the subnets of the network")


def _free(subnet: Network, network: Row) -> Iterator[ipaddress.IPv4Address]:
    return (address for address in subnet.hosts() if address not in (gateway(network), _PUBLIC_GATEWAY))


def _check_address(text: str, network: Row, among: list[Network], taken: set[str]) -> None:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise invalid("ip", f"'{text}' is not an IPv4 address") from None
    subnet = next((one for one in among if address in one), None)
    if subnet is None:
        raise invalid("ip", f"{address} is in no subnet that the server can be attached to")
    reserved = {subnet.network_address, subnet.broadcast_address, gateway(network), _PUBLIC_GATEWAY}
    if address in reserved or str(address) in taken:
        raise ApiError("ip_not_available", f"the IP {address} is not available")


def attachment(server: Row, network: int) -> Row | None:
    """The server's attachment to the network with that id, if there is one."""
    found: Row | None = next((net for net in server["private_net"] if net["network"] == network), None)
    return found


def _add_subnet(row: Row, request: Request) -> None:
    kind = request.get("type", str, required=True)
    if kind != "cloud":
        raise invalid("type", f"'{kind}' is not emulated; use cloud")
    zone = request.get("network_zone", str, required=True)
    if not catalog.zone_exists(zone):
        raise invalid("network_zone", f"'{zone}' is unknown")
    whole = Network(row["ip_range"])
    ip_range = parse_range("ip_range", request.get("ip_range", str, required=True), longest=30)
    if not ip_range.subnet_of(whole):
        raise invalid("ip_range", f"{ip_range} is not inside the network's {whole}")
    for other in subnets(row):
        if other.overlaps(ip_range):
            raise invalid("ip_range", f"{ip_range} overlaps with the subnet {other}")
    for route in row["routes"]:
        if route["destination"] != "0.0.0.0/0" and Network(route["destination"]).overlaps(ip_range):
            raise invalid("ip_range", f"{ip_range} overlaps with the route to {route['destination']}")
    subnet = {"type": kind, "ip_range": str(ip_range), "network_zone": zone, "gateway": str(gateway(row))}
    row["subnets"].append(subnet)


def _add_route(row: Row, request: Request) -> None:
    text = request.get("destination", str, required=True)
    everything = Network("0.0.0.0/0")
    destination = everything if text == str(everything) else parse_range("destination", text, longest=32)
    via = request.get("gateway", str, required=True)
    try:
        address = ipaddress.IPv4Address(via)
    except ValueError:
        raise invalid("gateway", f"'{via}' is not an IPv4 address") from None
    if address not in Network(row["ip_range"]) or address in (gateway(row), _PUBLIC_GATEWAY):
        raise invalid("gateway", f"{address} cannot be a gateway in the network")
    if destination.prefixlen:
        for other in subnets(row):
            if other.overlaps(destination):
                raise invalid("destination", f"{destination} overlaps with the subnet {other}")
    if any(Network(route["destination"]) == destination for route in row["routes"]):
        raise invalid("destination", f"there is a route to {destination} already")
    row["routes"].append({"destination": str(destination), "gateway": str(address)})
