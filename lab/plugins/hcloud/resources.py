"""All Hetzner Cloud resources except servers: one class per type, mostly a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from .. import sdk
from ..rest import Api, RefusedError
from ..rest_resource import Difference, RestResource, Values, meaning
from ..server import Call, ProviderError

PACKAGE: Final = "pulumi_hcloud"
REPLACES: Final[Mapping[str, Any]] = {"replaces": True}
# The resource is in use until other resources of the same destroy release it a moment later.
BUSY: Final = ("resource_in_use", "service_error")


class Hcloud(RestResource):
    """The base class.

    Attributes:
        path: Its collection in the API, `networks`.
        key: Its name in the API's answers, `network`.
    """

    package = PACKAGE
    path: ClassVar[str] = ""
    key: ClassVar[str] = ""

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        """Create one."""
        answer = self.api.call(call, "POST", self.path, self.body(given))
        return str(answer[self.key]["id"]), answer

    def body(self, given: Values) -> Values:
        """The body of the creation request."""
        return {sdk.snake(name): given[name] for name in self.sent if name in given}

    def ready(self, call: Call, identity: str, answer: Mapping[str, Any], given: Values) -> None:
        """Wait for the actions, and finish."""
        self.api.settle(call, answer)
        self.finish(call, identity, given)

    def look(self, call: Call, identity: str) -> Values | None:
        """Its current state in the API."""
        found = self.api.find(call, f"{self.path}/{identity}")
        return None if found is None else dict(found[self.key])

    def change(self, call: Call, change: Difference) -> None:
        """Update name and labels; subclasses do the rest."""
        body = {name: change.new.get(name, {}) for name in ("name", "labels") if change.at(name)}
        if body:
            self.api.call(call, "PUT", f"{self.path}/{change.identity}", body)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002 - for overriding
        """Send DELETE, and wait for its action."""
        self.api.settle(call, self.api.call(call, "DELETE", f"{self.path}/{identity}", later=BUSY))


class Network(Hcloud):
    path, key = "networks", "network"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ipRange": REPLACES}
    sent = ("name", "ipRange", "labels")


class _Part(Hcloud):
    """A part of a network; its id is the network's, with the value of the property that identifies the part.

    Attributes:
        name: Of the part in the names of actions.
        told: The property that identifies the part.
    """

    name: ClassVar[str]
    told: ClassVar[str]

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        network, told = given["networkId"], meaning(self.told, given[self.told])
        body = {**self.body(given), sdk.snake(self.told): told}
        return f"{network}-{told}", self.api.call(call, "POST", f"networks/{network}/actions/add_{self.name}", body)

    def look(self, call: Call, identity: str) -> Values | None:
        network, _, told = identity.partition("-")
        found = self.api.find(call, f"networks/{network}")
        parts = found["network"][f"{self.name}s"] if found else ()
        return next(({**one, "network_id": int(network)} for one in parts if one[sdk.snake(self.told)] == told), None)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        thing = self.look(call, identity)
        if thing is not None:
            body = {sdk.snake(name): thing[sdk.snake(name)] for name in (self.told, *self.sent)}
            self.api.act(call, f"networks/{thing['network_id']}/actions/delete_{self.name}", body, later=BUSY)


class NetworkSubnet(_Part):
    name, told = "subnet", "ipRange"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = dict.fromkeys(
        ("networkId", "type", "networkZone", "ipRange"), REPLACES
    )
    sent = ("type", "networkZone")


class NetworkRoute(_Part):
    name, told = "route", "destination"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = dict.fromkeys(("networkId", "destination", "gateway"), REPLACES)
    sent = ("gateway",)


class SshKey(Hcloud):
    path, key = "ssh_keys", "ssh_key"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"publicKey": REPLACES}
    sent = ("name", "publicKey", "labels")


class PlacementGroup(Hcloud):
    path, key = "placement_groups", "placement_group"
    gone_is_removed = False
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"type": REPLACES}
    sent = ("name", "type", "labels")


class Firewall(Hcloud):
    path, key = "firewalls", "firewall"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"rules": {}}
    computed = frozenset({"applyTos"})
    hidden = frozenset({"applyTos"})
    sent = ("name", "labels")

    def body(self, given: Values) -> Values:
        return {**super().body(given), "rules": _rules(given)}

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        names = {sdk.snake(name): name for name in self.fields["rules"].item.fields}  # type: ignore[union-attr]
        found["rules"] = [
            {names[key]: value for key, value in rule.items() if key in names and value} for rule in thing["rules"]
        ]
        return found

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("rules"):
            self.api.act(call, f"firewalls/{change.identity}/actions/set_rules", {"rules": _rules(change.new)})

    def remove(self, call: Call, identity: str, state: Values) -> None:
        """Detach it from its servers first."""
        thing = self.look(call, identity)
        for entry in thing["applied_to"] if thing else ():
            apply(self.api, call, int(identity), entry["server"]["id"], applied=False)
        super().remove(call, identity, state)


def _rules(given: Values) -> list[Values]:
    rules = []
    for rule in given.get("rules", []):
        sent = {sdk.snake(name): value for name, value in rule.items() if value not in ("", None)}
        for side in ("source_ips", "destination_ips"):
            sent[side] = [meaning("sourceIps", entry) for entry in sent.get(side, [])]
        rules.append(sent)
    return rules


def apply(api: Api, call: Call, firewall: int, server: int, *, applied: bool) -> None:
    """Apply a firewall to a server, or remove it."""
    verb, name = ("apply_to_resources", "apply_to") if applied else ("remove_from_resources", "remove_from")
    body = {name: [{"type": "server", "server": {"id": server}}]}
    try:
        api.act(call, f"firewalls/{firewall}/actions/{verb}", body)
    except RefusedError as error:
        if error.code not in ("firewall_already_applied", "firewall_resource_not_found"):
            raise


class Volume(Hcloud):
    path, key = "volumes", "volume"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"location": REPLACES}
    # VolumeAttachment sets it.
    computed = frozenset({"serverId"})
    sent = ("name", "size", "location", "labels")
    where: ClassVar[Mapping[str, str]] = {"location": "location.name", "serverId": "server"}
    # The API returns the format that the volume has, which may not be the requested one.
    hidden = frozenset({"format", "automount"})

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("size"):
            self.api.act(call, f"volumes/{change.identity}/actions/resize", {"size": change.new["size"]})

    def remove(self, call: Call, identity: str, state: Values) -> None:
        detach(self.api, call, identity, self.look(call, identity))
        super().remove(call, identity, state)


class VolumeAttachment(Hcloud):
    """Its id is the volume's, because a volume has at most one attachment."""

    path, key = "volumes", "volume"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"volumeId": REPLACES, "serverId": REPLACES, "automount": {}}
    where: ClassVar[Mapping[str, str]] = {"volumeId": "id", "serverId": "server"}
    hidden = frozenset({"automount"})

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        body = {"server": given["serverId"], "automount": given.get("automount", False)}
        return str(given["volumeId"]), self.api.call(call, "POST", f"volumes/{given['volumeId']}/actions/attach", body)

    def look(self, call: Call, identity: str) -> Values | None:
        thing = super().look(call, identity)
        return thing if thing is not None and thing["server"] is not None else None

    def change(self, call: Call, change: Difference) -> None:  # noqa: ARG002
        raise ProviderError("automount: this stand-in cannot change it; install the official plugin")

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        detach(self.api, call, identity, self.look(call, identity))


def detach(api: Api, call: Call, identity: str, volume: Values | None) -> None:
    """Detach a volume from its server, if it has one."""
    if volume is not None and volume["server"] is not None:
        api.act(call, f"volumes/{identity}/actions/detach")
