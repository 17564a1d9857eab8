"""Volumes, and where they are attached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest_resource import Difference, Values
from ..server import Call
from .base import OFF, REPLACES, Hcloud


class Volume(Hcloud):
    path, key = "volumes", "volume"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"location": REPLACES, "deleteProtection": OFF}
    computed = frozenset({"location", "serverId"})
    sent = ("name", "size", "location", "serverId", "labels", "automount", "format")
    where: ClassVar[Mapping[str, str]] = {
        "location": "location.name",
        "serverId": "server",
        "deleteProtection": "protection.delete",
    }
    # The API shows a format as well, which is what there is and not what was asked for.
    hidden = frozenset({"format", "automount"})

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        path = f"volumes/{change.identity}/actions"
        if change.at("serverId"):
            if change.thing["server"] is not None:
                self.api.act(call, f"{path}/detach")
            if change.new.get("serverId"):
                self.api.act(call, f"{path}/attach", _attachment(change.new))
        if change.at("size"):
            self.api.act(call, f"{path}/resize", {"size": change.new["size"]})

    def remove(self, call: Call, identity: str, state: Values) -> None:
        thing = self.look(call, identity)
        if thing is not None and thing["server"] is not None:
            self.api.act(call, f"volumes/{identity}/actions/detach")
        super().remove(call, identity, state)


def _attachment(given: Values) -> Values:
    automount = {"automount": given["automount"]} if "automount" in given else {}
    return {"server": given["serverId"], **automount}


class VolumeAttachment(Hcloud):
    """Its id is the volume's: a volume is attached at one place only."""

    autonamed = False
    path, key = "volumes", "volume"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"volumeId": REPLACES, "serverId": REPLACES}
    computed = frozenset({"automount"})
    where: ClassVar[Mapping[str, str]] = {"volumeId": "id", "serverId": "server"}
    hidden = frozenset({"automount"})

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        volume = given["volumeId"]
        return str(volume), self.api.call(call, "POST", f"volumes/{volume}/actions/attach", _attachment(given))

    def look(self, call: Call, identity: str) -> Values | None:
        thing = super().look(call, identity)
        return thing if thing is not None and thing["server"] is not None else None

    def change(self, call: Call, change: Difference) -> None:
        """Nothing that can change in place is known to the API."""

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        if self.look(call, identity) is not None:
            self.api.act(call, f"volumes/{identity}/actions/detach")
