"""Firewalls, and what they apply to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import sdk
from ..rest import Api, RefusedError
from ..rest_resource import Difference, Values, meaning
from ..server import Call, ProviderError
from .base import REPLACES, Hcloud
from .rules import no_source


class Firewall(Hcloud):
    path, key = "firewalls", "firewall"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "rules.direction": {"choices": ("in", "out")},
        "rules.protocol": {"choices": ("icmp", "tcp", "udp", "esp", "gre")},
        "rules.sourceIps[]": {"rule": no_source},
        "rules.destinationIps[]": {"rule": no_source},
    }
    computed = frozenset({"labels", "applyTos"})
    sent = ("name", "labels")

    def body(self, given: Values) -> Values:
        targets = [target(entry) for entry in given.get("applyTos", [])]
        return {**super().body(given), "rules": _rules(given), **({"apply_to": targets} if targets else {})}

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        names = {sdk.snake(name): name for name in self.fields["rules"].item.fields}  # type: ignore[union-attr]
        found["rules"] = [
            {names[key]: value for key, value in rule.items() if key in names and value} for rule in thing["rules"]
        ]
        servers, selectors = _applied(thing)
        found["applyTos"] = [*({"server": entry} for entry in servers), *({"labelSelector": e} for e in selectors)]
        return found

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("rules"):
            self.api.act(call, f"firewalls/{change.identity}/actions/set_rules", {"rules": _rules(change.new)})
        if change.at("applyTos"):
            old, new = ([target(entry) for entry in side.get("applyTos", [])] for side in (change.old, change.new))
            apply(self.api, call, change.identity, old, new)

    def remove(self, call: Call, identity: str, state: Values) -> None:
        thing = self.look(call, identity)
        if thing is not None:
            servers, selectors = _applied(thing)
            apply(self.api, call, identity, _targets(servers, selectors), [])
        super().remove(call, identity, state)


def _rules(given: Values) -> list[Values]:
    rules = []
    for rule in given.get("rules", []):
        sent = {sdk.snake(name): value for name, value in rule.items() if value not in ("", None)}
        for side in ("source_ips", "destination_ips"):
            sent[side] = [meaning("sourceIps", entry) for entry in sent.get(side, [])]
        rules.append(sent)
    return rules


def _applied(firewall: Mapping[str, Any]) -> tuple[list[int], list[str]]:
    entries = firewall["applied_to"]
    servers = [entry["server"]["id"] for entry in entries if entry["type"] == "server"]
    return servers, [entry["label_selector"]["selector"] for entry in entries if entry["type"] == "label_selector"]


def target(entry: Values) -> Values:
    if entry.get("labelSelector"):
        return {"type": "label_selector", "label_selector": {"selector": entry["labelSelector"]}}
    return {"type": "server", "server": {"id": entry["server"]}}


def _targets(servers: list[int], selectors: list[str]) -> list[Values]:
    return [target({"server": server}) for server in servers] + [target({"labelSelector": one}) for one in selectors]


def apply(api: Api, call: Call, firewall: str | int, old: list[Values], new: list[Values]) -> None:
    """Bring what a firewall applies to from `old` to `new`."""
    less, more = [entry for entry in old if entry not in new], [entry for entry in new if entry not in old]
    for verb, name, entries, fine in (
        ("remove_from_resources", "remove_from", less, ("firewall_resource_not_found", "not_found")),
        ("apply_to_resources", "apply_to", more, ("firewall_already_applied",)),
    ):
        if entries:
            try:
                api.act(call, f"firewalls/{firewall}/actions/{verb}", {name: entries})
            except RefusedError as error:
                if error.code not in fine:
                    raise


class FirewallAttachment(Hcloud):
    """Its id is the firewall's: it is all that the firewall applies to."""

    autonamed = False
    path, key = "firewalls", "firewall"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"firewallId": REPLACES}
    where: ClassVar[Mapping[str, str]] = {"firewallId": "id"}

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        wanted = _attached(given)
        if not wanted:
            raise ProviderError("no resources referenced: give serverIds or labelSelectors")
        apply(self.api, call, given["firewallId"], [], wanted)
        return str(given["firewallId"]), {}

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        servers, selectors = _applied(thing)
        return {**super().seen(thing, given), "serverIds": servers, "labelSelectors": selectors}

    def change(self, call: Call, change: Difference) -> None:
        apply(self.api, call, change.identity, _targets(*_applied(change.thing)), _attached(change.new))

    def remove(self, call: Call, identity: str, state: Values) -> None:
        apply(self.api, call, identity, _attached(state), [])


def _attached(given: Values) -> list[Values]:
    return _targets(given.get("serverIds", []), given.get("labelSelectors", []))
