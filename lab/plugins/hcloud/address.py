"""Primary IPs: public addresses that outlive servers."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest import Api
from ..rest_resource import Difference, Values
from ..schema import Failure
from ..server import Call
from .base import OFF, REPLACES, Hcloud
from .rules import gone


class PrimaryIp(Hcloud):
    path, key = "primary_ips", "primary_ip"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "type": {"replaces": True, "choices": ("ipv4", "ipv6")},
        "location": REPLACES,
        "datacenter": {"rule": gone},
        "autoDelete": OFF,
        "deleteProtection": OFF,
    }
    computed = frozenset({"location", "datacenter", "assigneeId", "assigneeType"})
    sent = ("name", "type", "location", "assigneeId", "assigneeType", "autoDelete", "labels")
    put = ("name", "labels", "autoDelete")
    where: ClassVar[Mapping[str, str]] = {
        "location": "location.name",
        "ipAddress": "ip",
        "deleteProtection": "protection.delete",
    }
    name_kept_first = False

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        failures = super().check(inputs)
        if ("location" in inputs) == ("assigneeId" in inputs):
            failures.append(Failure("", "exactly one of location and assigneeId must be given"))
        return failures

    def body(self, given: Values) -> Values:
        return {"assignee_type": "server", **super().body(given)}

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        if thing["type"] == "ipv6":
            network = ipaddress.ip_network(thing["ip"])
            found |= {"ipAddress": str(network.network_address), "ipNetwork": str(network)}
        return found

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("assigneeId"):
            if change.thing["assignee_id"]:
                self.api.act(call, f"primary_ips/{change.identity}/actions/unassign")
            assign(self.api, call, change.identity, change.new["assigneeId"])


def assign(api: Api, call: Call, address: str | int, server: int) -> None:
    body = {"assignee_id": server, "assignee_type": "server"}
    api.act(call, f"primary_ips/{address}/actions/assign", body)
