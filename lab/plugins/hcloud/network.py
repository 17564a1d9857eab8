"""Networks, their subnets and routes, and what has no other place: SSH keys and placement groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest_resource import Values, meaning
from ..server import Call, ProviderError
from .base import BUSY, OFF, REPLACES, Hcloud
from .rules import no_address, no_range, no_subnet


class Network(Hcloud):
    path, key = "networks", "network"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ipRange": {"replaces": True, "rule": no_range},
        "deleteProtection": OFF,
        "exposeRoutesToVswitch": OFF,
    }
    sent = ("name", "ipRange", "labels", "exposeRoutesToVswitch")
    put = ("name", "labels", "exposeRoutesToVswitch")
    where: ClassVar[Mapping[str, str]] = {"deleteProtection": "protection.delete"}


class NetworkSubnet(Hcloud):
    autonamed = False
    path = "networks"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "networkId": REPLACES,
        "type": {"replaces": True, "choices": ("cloud", "server", "vswitch")},
        "networkZone": REPLACES,
        "ipRange": {"replaces": True, "rule": no_range},
        "vswitchId": REPLACES,
    }
    sent = ("type", "networkZone", "vswitchId")

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        network, ip_range = given["networkId"], meaning("ipRange", given["ipRange"])
        body = {**self.body(given), "ip_range": ip_range}
        later = ("vswitch_id_already_used",)
        answer = self.api.call(call, "POST", f"networks/{network}/actions/add_subnet", body, later=later)
        return f"{network}-{ip_range}", answer

    def look(self, call: Call, identity: str) -> Values | None:
        wrong = no_subnet(identity)
        if wrong:
            raise ProviderError(wrong)
        network, _, ip_range = identity.partition("-")
        found = self.api.find(call, f"networks/{network}")
        for subnet in found["network"]["subnets"] if found else ():
            if meaning("ipRange", subnet["ip_range"]) == ip_range:
                return {**subnet, "network_id": int(network)}
        return None

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        network, _, ip_range = identity.partition("-")
        if self.look(call, identity) is not None:
            path = f"networks/{network}/actions/delete_subnet"
            self.api.act(call, path, {"ip_range": ip_range}, later=BUSY)


class NetworkRoute(Hcloud):
    autonamed = False
    path = "networks"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "networkId": REPLACES,
        "destination": {"replaces": True, "rule": no_range},
        "gateway": {"replaces": True, "rule": no_address},
    }
    sent = ("destination", "gateway")

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        network = given["networkId"]
        answer = self.api.call(call, "POST", f"networks/{network}/actions/add_route", self.body(given))
        return f"{network}-{meaning('destination', given['destination'])}", answer

    def look(self, call: Call, identity: str) -> Values | None:
        wrong = no_subnet(identity)
        if wrong:
            raise ProviderError(wrong.replace("subnet", "route").replace("SUBNET_IP_RANGE", "DESTINATION"))
        network, _, destination = identity.partition("-")
        found = self.api.find(call, f"networks/{network}")
        for route in found["network"]["routes"] if found else ():
            if meaning("destination", route["destination"]) == destination:
                return {**route, "network_id": int(network)}
        return None

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        thing = self.look(call, identity)
        if thing is not None:
            body = {name: thing[name] for name in ("destination", "gateway")}
            self.api.act(call, f"networks/{thing['network_id']}/actions/delete_route", body, later=BUSY)


class SshKey(Hcloud):
    path, key = "ssh_keys", "ssh_key"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"publicKey": REPLACES}
    sent = ("name", "publicKey", "labels")
    name_kept_first = False


class PlacementGroup(Hcloud):
    path, key = "placement_groups", "placement_group"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"type": {"choices": ("spread",)}}
    sent = ("name", "type", "labels")
