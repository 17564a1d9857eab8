"""Servers in networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest import Api, RefusedError
from ..rest_resource import Difference, Values, meaning
from ..schema import Failure
from ..server import Call, ProviderError
from .base import BUSY, REPLACES, Hcloud
from .rules import no_address, no_subnet


class ServerNetwork(Hcloud):
    autonamed = False
    path, key = "servers", "server"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "serverId": REPLACES,
        "networkId": REPLACES,
        "subnetId": {"replaces": True, "rule": no_subnet},
        "ip": {"replaces": True, "rule": no_address},
        "aliasIps": {"default": []},
        "aliasIps[]": {"rule": no_address},
    }
    computed = frozenset({"networkId", "ip"})
    name_kept_first = False

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        failures = super().check(inputs)
        if ("networkId" in inputs) == ("subnetId" in inputs):
            failures.append(Failure("", "exactly one of networkId and subnetId must be given"))
        return failures

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        attach(self.api, call, given["serverId"], given)
        return f"{given['serverId']}-{network_of(given)}", {}

    def look(self, call: Call, identity: str) -> Values | None:
        server, dash, network = identity.partition("-")
        if not dash or not network.isdigit():
            raise ProviderError(f"unexpected id '{identity}', expected '$SERVER_ID-$NETWORK_ID'")
        for entry in (super().look(call, server) or {}).get("private_net", []):
            if entry["network"] == int(network):
                return {**entry, "server_id": int(server), "network_id": int(network)}
        return None

    where: ClassVar[Mapping[str, str]] = {}

    def change(self, call: Call, change: Difference) -> None:
        if change.at("aliasIps"):
            body = {"network": change.thing["network_id"], "alias_ips": change.wanted("aliasIps")}
            self.api.act(call, f"servers/{change.thing['server_id']}/actions/change_alias_ips", body)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        server, _, network = identity.partition("-")
        if self.look(call, identity) is not None:
            detach(self.api, call, server, int(network))


def network_of(entry: Mapping[str, Any]) -> int:
    return int(str(entry.get("subnetId") or entry["networkId"]).partition("-")[0])


def attach(api: Api, call: Call, server: str | int, entry: Mapping[str, Any]) -> None:
    body: Values = {"network": network_of(entry)}
    if entry.get("subnetId"):
        body["ip_range"] = entry["subnetId"].partition("-")[2]
    if entry.get("ip"):
        body["ip"] = entry["ip"]
    if entry.get("aliasIps"):
        body["alias_ips"] = entry["aliasIps"]
    try:
        api.act(call, f"servers/{server}/actions/attach_to_network", body, later=("no_subnet_available", *BUSY))
    except RefusedError as error:
        if error.code != "server_already_attached":
            raise


def detach(api: Api, call: Call, server: str | int, network: int) -> None:
    try:
        api.act(call, f"servers/{server}/actions/detach_from_network", {"network": network}, later=BUSY)
    except RefusedError as error:
        if error.code != "not_found":
            raise


def attachments(server: Mapping[str, Any], wanted: list[Values]) -> list[Values]:
    """The networks a server is in, those the program names first and in its order."""
    there = {entry["network"]: entry for entry in server["private_net"]}
    named = {network_of(entry): entry for entry in wanted}
    found = []
    for network in [*(one for one in named if one in there), *(one for one in there if one not in named)]:
        entry = there[network]
        subnet = {"subnetId": named[network]["subnetId"]} if named.get(network, {}).get("subnetId") else {}
        aliases = entry["alias_ips"]
        if network in named and meaning("aliasIps", aliases) == meaning("aliasIps", named[network].get("aliasIps")):
            aliases = named[network].get("aliasIps", [])
        addresses = {"ip": entry["ip"], "aliasIps": aliases, "macAddress": entry["mac_address"]}
        found.append({"networkId": network, **subnet, **addresses})
    return found


def network_failures(networks: Any) -> list[Failure]:
    failures = []
    seen: set[int] = set()
    for at, entry in enumerate(networks if isinstance(networks, list) else ()):
        if not isinstance(entry, dict):
            continue
        subnet, network, ip = entry.get("subnetId"), entry.get("networkId"), entry.get("ip")
        if subnet is None and network is None:
            failures.append(Failure(f"networks[{at}]", "must specify either networkId or subnetId"))
        if isinstance(subnet, str) and not no_subnet(subnet):
            of, _, ip_range = subnet.partition("-")
            if isinstance(network, (int, float)) and network != int(of):
                reason = f"subnetId ({subnet}) does not belong to the specified networkId ({int(network)})"
                failures.append(Failure(f"networks[{at}].subnetId", reason))
            network = int(of)
            if isinstance(ip, str) and not no_address(ip):
                inside = ipaddress.ip_network(ip_range, strict=False)
                if ipaddress.ip_address(ip) not in inside:
                    reason = f"server IP ({ip}) is outside subnet IP range ({inside})"
                    failures.append(Failure(f"networks[{at}].ip", reason))
        if isinstance(network, (int, float)):
            if int(network) in seen:
                failures.append(Failure(f"networks[{at}]", f"server is in network {int(network)} more than once"))
            seen.add(int(network))
    return failures
