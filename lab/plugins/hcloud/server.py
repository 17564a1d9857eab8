"""Servers."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest_resource import Difference, Values, meaning
from ..schema import Failure
from ..server import WARNING, Call, ProviderError
from ..wire import plain
from .address import assign
from .attachment import attach, attachments, detach, network_failures, network_of
from .base import BUSY, OFF, REPLACES, Hcloud
from .firewall import apply, target
from .rules import empty, gone, no_address, no_subnet, unserved

_SHUTDOWN_SECONDS = 31


class Server(Hcloud):
    path, key = "servers", "server"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "image": {"replaces": True, "rule": empty},
        "location": REPLACES,
        "userData": REPLACES,
        "sshKeys": REPLACES,
        "sshKeys[]": {"rule": empty},
        "datacenter": {"rule": gone},
        "backups": {"default": False, "rule": unserved},
        "iso": {"rule": unserved},
        "rescue": {"rule": unserved},
        "allowDeprecatedImages": OFF,
        "keepDisk": OFF,
        "ignoreRemoteFirewallIds": OFF,
        "deleteProtection": OFF,
        "rebuildProtection": OFF,
        "shutdownBeforeDeletion": OFF,
        "publicNets.ipv4Enabled": {"default": True},
        "publicNets.ipv6Enabled": {"default": True},
        "networks.subnetId": {"rule": no_subnet},
        "networks.ip": {"rule": no_address},
        "networks.aliasIps": {"default": []},
        "networks.aliasIps[]": {"rule": no_address},
    }
    computed = frozenset({"image", "location", "datacenter", "firewallIds", "networks", "publicNets"})
    where: ClassVar[Mapping[str, str]] = {
        "location": "location.name",
        "serverType": "server_type.name",
        "deleteProtection": "protection.delete",
        "rebuildProtection": "protection.rebuild",
        "placementGroupId": "placement_group.id",
        "ipv4Address": "public_net.ipv4.ip",
        "ipv6Network": "public_net.ipv6.ip",
    }
    hidden = frozenset({"userData"})

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        """Also what concerns several properties of a network."""
        return [*super().check(inputs), *network_failures(plain(inputs.get("networks")))]

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
        for name, sent in (
            ("location", "location"),
            ("userData", "user_data"),
            ("placementGroupId", "placement_group"),
        ):
            if given.get(name):
                body[sent] = given[name]
        for public in given.get("publicNets", []):
            body["public_net"] = _public(public)
        if _private_only(given):
            # It gets its private address first, or it would start without any.
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
            attach(self.api, call, identity, entry)
        if _private_only(given):
            self.api.act(call, f"servers/{identity}/actions/poweron", later=BUSY)
        if given.get("deleteProtection") or given.get("rebuildProtection"):
            self._protect(call, identity, given)

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        public, image = thing["public_net"], thing.get("image")
        ipv6 = (public.get("ipv6") or {}).get("ip")
        found |= {
            "placementGroupId": found.get("placementGroupId", 0),
            "firewallIds": [entry["id"] for entry in public.get("firewalls") or []],
            "ipv4Address": found.get("ipv4Address", ""),
            "ipv6Address": f"{ipv6.partition('/')[0]}1" if ipv6 else "",
            # So it says, of a network that is none.
            "ipv6Network": ipv6 or "<nil>",
            "backupWindow": thing.get("backup_window") or "",
        }
        found.pop("image", None)
        if image is not None:
            by_name = image.get("name") and str(image["id"]) != given.get("image")
            found["image"] = image["name"] if by_name else str(image["id"])
        if given.get("networks"):
            found["networks"] = attachments(thing, given["networks"])
        return found

    def state(self, identity: str, thing: Mapping[str, Any], given: Values) -> Values:
        state = super().state(identity, thing, given)
        if state.get("userData"):
            digest = hashlib.sha1(state["userData"].encode(), usedforsecurity=False).digest()
            state["userData"] = base64.b64encode(digest).decode()
        return state

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        identity, new, server = change.identity, change.new, change.thing
        actions = f"servers/{identity}/actions"
        if change.at("serverType"):
            if server["status"] == "running":
                self.api.act(call, f"{actions}/poweroff")
            body = {"server_type": new["serverType"], "upgrade_disk": not new.get("keepDisk", False)}
            self.api.act(call, f"{actions}/change_type", body)
        if change.at("networks"):
            self._change_networks(call, change)
        if change.at("firewallIds"):
            attached = [entry["id"] for entry in server["public_net"].get("firewalls") or []]
            for firewall in sorted({*attached, *new["firewallIds"]}):
                here = [target({"server": int(identity)})]
                old = here if firewall in attached else []
                apply(self.api, call, firewall, old, here if firewall in new["firewallIds"] else [])
        if change.at("publicNets"):
            self._change_public(call, change)
        if change.at("placementGroupId"):
            if server.get("placement_group") is not None:
                if server["status"] != "off":
                    raise ProviderError(
                        "removing a running server from a placement group is not supported: shut it down, "
                        "try again, then start it"
                    )
                self.api.act(call, f"{actions}/remove_from_placement_group")
            if new.get("placementGroupId"):
                body = {"placement_group": new["placementGroupId"]}
                self.api.act(call, f"{actions}/add_to_placement_group", body)

    def _change_networks(self, call: Call, change: Difference) -> None:
        wanted = {network_of(entry): entry for entry in change.new["networks"]}
        for entry in change.thing["private_net"]:
            new = wanted.pop(entry["network"], None)
            if new is not None and new.get("ip", entry["ip"]) == entry["ip"]:
                if meaning("aliasIps", new["aliasIps"]) != meaning("aliasIps", entry["alias_ips"]):
                    body = {"network": entry["network"], "alias_ips": new["aliasIps"]}
                    self.api.act(call, f"servers/{change.identity}/actions/change_alias_ips", body)
                continue
            detach(self.api, call, change.identity, entry["network"])
            if new is not None:
                attach(self.api, call, change.identity, new)
        for new in wanted.values():
            attach(self.api, call, change.identity, new)

    def _change_public(self, call: Call, change: Difference) -> None:
        old, new = ((side.get("publicNets") or [{}])[-1] for side in (change.old, change.new))
        actions = f"servers/{change.identity}/actions"
        for family in ("ipv4", "ipv6"):
            if new.get(family) and not new.get(f"{family}Enabled", True):
                raise ProviderError(
                    f"this operation is not allowed: {family}_enabled = false | {family} = {new[family]}"
                )
        self.api.act(call, f"{actions}/poweroff")
        try:
            for family in ("ipv4", "ipv6"):
                has = (change.thing["public_net"].get(family) or {}).get("id")
                chosen, was_chosen, enabled = new.get(family), old.get(family), new.get(f"{family}Enabled", True)
                if has and (has != chosen if chosen else was_chosen or not enabled):
                    self.api.act(call, f"primary_ips/{has}/actions/unassign")
                    if not was_chosen:
                        self.api.call(call, "DELETE", f"primary_ips/{has}")
                    has = None
                if enabled and chosen and has != chosen:
                    assign(self.api, call, chosen, int(change.identity))
                elif enabled and not has:
                    name = f"primary_ip-{secrets.token_hex(4)}"
                    body = {"name": name, "type": family, "auto_delete": True, "assignee_type": "server"}
                    answer = self.api.call(call, "POST", "primary_ips", {**body, "assignee_id": int(change.identity)})
                    self.api.settle(call, answer)
        finally:
            self.api.act(call, f"{actions}/poweron", later=BUSY)

    def remove(self, call: Call, identity: str, state: Values) -> None:
        if state.get("shutdownBeforeDeletion"):
            self.api.act(call, f"servers/{identity}/actions/shutdown")
            waited = 0
            while (self.look(call, identity) or {"status": "off"})["status"] != "off":
                if waited >= _SHUTDOWN_SECONDS:
                    call.log(WARNING, f"Server id {identity} did not shut down in time: it is deleted all the same.")
                    break
                call.wait(1)
                waited += 1
        super().remove(call, identity, state)


def _public(entry: Values) -> Values:
    chosen = {family: entry[family] for family in ("ipv4", "ipv6") if entry.get(family)}
    return {
        **{f"enable_{one}": entry.get(f"{one}Enabled", True) or one in chosen for one in ("ipv4", "ipv6")},
        **chosen,
    }


def _private_only(given: Values) -> bool:
    public = given.get("publicNets") or [{}]
    return bool(given.get("networks")) and not any(_public(public[-1]).values())
