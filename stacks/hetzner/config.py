"""The object `hetzner` of the configuration, typed and checked by Hetzner's rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.plan import Problem
from components.plan.hetzner import (
    DEFAULT_IMAGE,
    DEFAULT_NETWORK,
    DEFAULT_SUBNET,
    HetznerBastion,
    HetznerPlan,
    HetznerSlot,
    check_hetzner,
)

from ..clouds.config import CloudConfig, access, cloud_reader, note, slot_fields, spelling
from ..platform import WantedType
from ..reading import Reading
from . import ssh_access

_SHARED = ("location", "serverType", "image")


@dataclass(frozen=True)
class HetznerConfig(CloudConfig):
    """Network and machines on Hetzner Cloud, with all defaults."""

    plan: HetznerPlan
    ssh_keys: tuple[str, ...]

    @property
    def wanted_types(self) -> Sequence[WantedType]:
        """The servers, and the bastion."""
        slots = [
            WantedType(slot.name, f"{self.key}.{slot.name}.serverType", slot.server_type, slot.location)
            for slot in self.plan.slots
        ]
        bastion = self.plan.bastion
        if bastion is None:
            return slots
        return [*slots, WantedType("", "hetzner.bastion.serverType", bastion.server_type, bastion.location)]

    @property
    def compared_with(self) -> Sequence[str]:
        """The outputs of the last update that tell from where machines accept ssh."""
        return ssh_access.NEEDS

    def compare(self, last: Mapping[str, Any]) -> list[Problem]:
        """Why the machines, as the last update left them, would refuse ssh from this update."""
        return ssh_access.check(self.plan, self.operator, last)


def _read(reading: Reading, given: Mapping[str, Any], fields: dict[str, Any]) -> HetznerConfig:
    location, server_type = given.get("location", ""), given.get("serverType", "")
    image = given.get("image", DEFAULT_IMAGE)
    slots = [
        HetznerSlot(
            location=slot.get("location", location),
            server_type=slot.get("serverType", server_type),
            image=slot.get("image", image),
            **slot_fields(slot),
        )
        for slot in given.get("slots", [])
    ]
    wanted = given.get("bastion")
    plan = HetznerPlan(
        cluster=reading.cluster,
        slots=slots,
        network_id=given.get("networkId"),
        network_range=given.get("networkRange", DEFAULT_NETWORK),
        subnet_range=given.get("subnetRange", DEFAULT_SUBNET),
        public_ipv6=given.get("publicIpv6", False),
        volume_size=given.get("volume", {}).get("size"),
        bastion=None
        if wanted is None
        else HetznerBastion(
            location=wanted.get("location", location),
            server_type=wanted.get("serverType", server_type),
            image=wanted.get("image", DEFAULT_IMAGE),
            address=wanted.get("address"),
        ),
        labels=given.get("labels", {}),
        **access(given, fields["operator"]),
    )
    note(reading, "hetzner", _SHARED, check_hetzner(plan, _spelled))
    if plan.public_ipv6 and not plan.public_ipv4 and not {"releaseMirror", "releaseProxy"} & set(reading.given):
        rule = "Machines whose only public address is IPv6 cannot reach GitHub, which has no IPv6"
        remedy = "Set it to a mirror with IPv6 or in the network, or set releaseProxy, or hetzner.publicIpv4 to true"
        reading.refuse("releaseMirror", "nothing", rule, remedy)
    return HetznerConfig(plan=plan, ssh_keys=tuple(given.get("sshKeys", ())), **fields)


READ = cloud_reader("hetzner", "a location, a server type and slots", _read)


def _spelled(name: str) -> str:
    """The key of an argument of the plan."""
    return spelling("hetzner")("volume.size" if name == "volume_size" else name)
