"""Servers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest import RefusedError
from ..rest_resource import UNSERVED, Difference, Values
from ..server import WARNING, Call, ProviderError
from .resources import BUSY, REPLACES, Hcloud, apply

_SHUTDOWN_SECONDS = 31


class Server(Hcloud):
    path, key = "servers", "server"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **dict.fromkeys(("image", "location", "userData", "sshKeys"), REPLACES),
        "shutdownBeforeDeletion": {"default": False},
        "publicNets.ipv4Enabled": {"default": True},
        "publicNets.ipv6Enabled": {"default": True},
        "publicNets.ipv4": UNSERVED,
        "publicNets.ipv6": UNSERVED,
        "networks.networkId": UNSERVED,
        "networks.aliasIps": {"default": []},
        "networks.aliasIps[]": UNSERVED,
    }
    served = ("serverType", "networks", "publicNets", "placementGroupId", "firewallIds")
    computed = frozenset({"image", "location", "firewallIds", "networks", "publicNets"})
    where: ClassVar[Mapping[str, str]] = {
        "location": "location.name",
        "serverType": "server_type.name",
        "placementGroupId": "placement_group.id",
        "ipv4Address": "public_net.ipv4.ip",
        "ipv6Network": "public_net.ipv6.ip",
    }
    hidden = frozenset({"userData"})
    gone_is_removed = False

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        kind = self.api.named(call, "server_types", given["serverType"])
        if kind is None:
            raise ProviderError(f"server type {given['serverType']} not found")
        name, architecture = given.get("image", ""), kind["architecture"]
        query = {"architecture": architecture, "include_deprecated": "true"}
        image = self.api.named(call, "images", name, **query) if name else None
        if image is None:
            raise ProviderError(f"image {name} for architecture {architecture} not found")
        body: Values = {
            "name": given["name"],
            "server_type": kind["name"],
            "image": image["id"],
            "ssh_keys": [self._key(call, text) for text in given.get("sshKeys", [])],
            "labels": given.get("labels", {}),
            "firewalls": [{"firewall": one} for one in given.get("firewallIds", [])],
        }
        names = {"location": "location", "userData": "user_data", "placementGroupId": "placement_group"}
        body |= {sent: given[name] for name, sent in names.items() if given.get(name)}
        for public in given.get("publicNets", []):
            body["public_net"] = _public(public)
        if _private_only(given):
            # It gets its private address first, because it cannot start without a network.
            body["start_after_create"] = False
        answer = self.api.call(call, "POST", "servers", body)
        return str(answer["server"]["id"]), answer

    def _key(self, call: Call, text: str) -> int:
        key = self.api.named(call, "ssh_keys", text)
        if key is None:
            raise ProviderError(f"SSH key not found: {text}")
        return int(key["id"])

    def finish(self, call: Call, identity: str, given: Values) -> None:
        for entry in given.get("networks", []):
            self._attach(call, identity, entry)
        if _private_only(given):
            self.api.act(call, f"servers/{identity}/actions/poweron", later=BUSY)

    def _attach(self, call: Call, server: str, entry: Values) -> None:
        network, _, ip_range = str(entry["subnetId"]).partition("-")
        body: Values = {"network": int(network), "ip_range": ip_range}
        if entry.get("ip"):
            body["ip"] = entry["ip"]
        path, later = f"servers/{server}/actions/attach_to_network", ("no_subnet_available", *BUSY)
        try:
            self.api.act(call, path, body, later=later)
        except RefusedError as error:
            if error.code != "server_already_attached":
                raise

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        public, image = thing["public_net"], thing["image"]
        ipv6 = (public["ipv6"] or {}).get("ip")
        by_name = str(image["id"]) != given.get("image")
        found |= {
            "image": image["name"] if by_name else str(image["id"]),
            "placementGroupId": found.get("placementGroupId", 0),
            "firewallIds": [entry["id"] for entry in public["firewalls"]],
            "ipv4Address": found.get("ipv4Address", ""),
            "ipv6Address": f"{ipv6.partition('/')[0]}1" if ipv6 else "",
            # The official plugin's value if there is no network.
            "ipv6Network": ipv6 or "<nil>",
            "backupWindow": thing.get("backup_window") or "",
        }
        if given.get("networks"):
            found["networks"] = _attachments(thing, given["networks"])
        return found

    def state(self, identity: str, thing: Mapping[str, Any], given: Values) -> Values:
        state = super().state(identity, thing, given)
        if state.get("userData"):
            digest = hashlib.sha1(state["userData"].encode(), usedforsecurity=False).digest()
            state["userData"] = base64.b64encode(digest).decode()
        return state

    def change(self, call: Call, change: Difference) -> None:
        for name in ("serverType", "publicNets", "placementGroupId"):
            if change.at(name):
                raise ProviderError(f"{name}: this stand-in cannot change it; install the official plugin")
        super().change(call, change)
        if change.at("networks"):
            self._change_networks(call, change)
        if change.at("firewallIds"):
            attached = {entry["id"] for entry in change.thing["public_net"]["firewalls"]}
            for firewall in sorted(attached ^ {*change.new["firewallIds"]}):
                apply(self.api, call, firewall, int(change.identity), applied=firewall not in attached)

    def _change_networks(self, call: Call, change: Difference) -> None:
        wanted = {_network_of(entry): entry for entry in change.new["networks"]}
        for entry in change.thing["private_net"]:
            new = wanted.get(entry["network"])
            if new is not None and new.get("ip", entry["ip"]) == entry["ip"]:
                del wanted[entry["network"]]
                continue
            path = f"servers/{change.identity}/actions/detach_from_network"
            self.api.act(call, path, {"network": entry["network"]}, later=BUSY)
        for new in wanted.values():
            self._attach(call, change.identity, new)

    def remove(self, call: Call, identity: str, state: Values) -> None:
        if state.get("shutdownBeforeDeletion"):
            self.api.act(call, f"servers/{identity}/actions/shutdown")
            waited = 0
            while (self.look(call, identity) or {"status": "off"})["status"] != "off":
                if waited >= _SHUTDOWN_SECONDS:
                    call.log(WARNING, f"Server {identity} did not shut down in time and is deleted while running.")
                    break
                call.wait(1)
                waited += 1
        super().remove(call, identity, state)


def _network_of(entry: Mapping[str, Any]) -> int:
    return int(str(entry["subnetId"]).partition("-")[0])


def _attachments(server: Mapping[str, Any], wanted: list[Values]) -> list[Values]:
    """The networks of a server: first those that the program names, in its order."""
    there = {entry["network"]: entry for entry in server["private_net"]}
    named = {_network_of(entry): entry["subnetId"] for entry in wanted}
    found = []
    for network in [*(one for one in named if one in there), *(one for one in there if one not in named)]:
        entry = there[network]
        subnet = {"subnetId": named[network]} if network in named else {}
        addresses = {"ip": entry["ip"], "aliasIps": entry["alias_ips"], "macAddress": entry["mac_address"]}
        found.append({"networkId": network, **subnet, **addresses})
    return found


def _public(entry: Values) -> Values:
    return {f"enable_{one}": entry.get(f"{one}Enabled", True) for one in ("ipv4", "ipv6")}


def _private_only(given: Values) -> bool:
    public = given.get("publicNets") or [{}]
    return bool(given.get("networks")) and not any(_public(public[-1]).values())
