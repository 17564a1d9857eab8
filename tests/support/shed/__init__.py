"""A third platform, only for tests: the smallest one that follows the recipe in docs/decisions/platforms.md.

Its machines are in a shed, and the shed's keeper sells them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.plan.cloud import CloudPlan, CloudSlot, WantedType, check_access, check_slots
from components.plan.cloud_arguments import access, slot_fields
from components.plan.origin import PLATFORM
from stacks.clouds.config import CloudConfig, cloud_reader, note, spelling
from stacks.key_table import OBJECT, TEXT, TEXTS, Key
from stacks.keys import slots
from stacks.platform import Platform
from stacks.reading import Reading

KEYS = (
    Key("shed", OBJECT, "Machines in the shed, for the platform `shed`."),
    Key("shed.kind", TEXT, "Kind of all machines.", required=True),
    Key("shed.operators", TEXTS, "Ranges from which ssh comes."),
    *slots("shed", "the shed", "kind"),
)


@dataclass(frozen=True, kw_only=True)
class ShedPlan(CloudPlan):
    """The desired state."""

    slots: Sequence[CloudSlot]
    kind: str
    on_volumes = False

    @property
    def addresses(self) -> Mapping[str, str]:
        """Slot -> private address."""
        return {slot.name: f"10.9.0.{number}" for number, slot in enumerate(self.slots, start=1)}

    @property
    def origins(self) -> Mapping[str, Mapping[str, str]]:
        """Slot -> origin of its machine."""
        return {slot.name: {PLATFORM: "shed"} for slot in self.slots}


@dataclass(frozen=True)
class ShedConfig(CloudConfig):
    """The configuration."""

    plan: ShedPlan

    @property
    def wanted_types(self) -> Sequence[WantedType]:
        """The machines."""
        return [
            WantedType(slot.name, f"{self.key}.{slot.name}.kind", self.plan.kind, "here") for slot in self.plan.slots
        ]


def _read(reading: Reading, args: Mapping[str, Any], fields: dict[str, Any]) -> ShedConfig:
    slots = [CloudSlot(**slot_fields(slot)) for slot in args.get("slots", [])]
    of_all = access(args, through_another_bastion=fields["operator"].bastion is not None)
    plan = ShedPlan(cluster=reading.cluster, slots=slots, kind=args.get("kind", ""), **of_all)
    spelled = spelling("shed")
    note(reading, "shed", ("kind",), [*check_slots(plan, "shed.slots"), *check_access(plan, spelled, public=True)])
    return ShedConfig(plan=plan, args=args, **fields)


SHED = Platform(
    name="shed",
    about="found in the shed",
    folder=__name__,
    keys=KEYS,
    read=cloud_reader("shed", "a kind and slots", _read),
    provider="The keeper",
)
