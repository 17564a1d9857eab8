"""The object `hetzner` of the configuration, typed and checked by Hetzner's rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.plan import Problem
from components.plan.cloud import WantedType
from components.plan.hetzner import HetznerPlan
from components.plan.hetzner_arguments import SHARED, check_arguments, hetzner_plan, wanted_types

from ..arguments import arguments, camel_case
from ..clouds.config import CloudConfig, cloud_reader, note, spelling
from ..reading import Reading
from . import ssh_access


@dataclass(frozen=True)
class HetznerConfig(CloudConfig):
    """Network and machines on Hetzner Cloud, with all defaults."""

    plan: HetznerPlan

    @property
    def wanted_types(self) -> Sequence[WantedType]:
        """The servers and the bastion."""
        return wanted_types(self.plan, spelling("hetzner"))

    @property
    def compared_with(self) -> Sequence[str]:
        """The outputs of the last update that tell from where machines accept ssh."""
        return ssh_access.NEEDS

    def compare(self, last: Mapping[str, Any]) -> list[Problem]:
        """Why the machines, as the last update left them, would refuse ssh from this update."""
        return ssh_access.check(self.plan, self.operator, last)


def _read(reading: Reading, args: Mapping[str, Any], fields: dict[str, Any]) -> HetznerConfig:
    plan = hetzner_plan(reading.cluster, args, through_another_bastion=fields["operator"].bastion is not None)
    note(reading, "hetzner", SHARED, check_arguments(plan, arguments(reading), spelling("hetzner"), camel_case))
    return HetznerConfig(plan=plan, args=args, **fields)


READ = cloud_reader("hetzner", "a location, a server type and slots", _read)
