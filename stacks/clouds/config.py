"""The object of a cloud in the configuration: what is the same in all of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.plan import MemberPlan, Problem
from components.plan.cloud import CloudPlan
from components.plan.origin import Origin

from ..arguments import camel_case
from ..platform import Machines, data_directory
from ..reading import Reading
from ..ways import Operator, Ways


@dataclass(frozen=True)
class CloudConfig(Machines):
    """Network and machines on a cloud, every default filled in; a cloud's own type has more."""

    plan: CloudPlan
    operator: Operator
    protect_volume: bool

    @property
    def members(self) -> Sequence[MemberPlan]:
        """The slots as the cluster's plan has them."""
        addresses = self.plan.addresses
        return [
            MemberPlan(slot.name, addresses.get(slot.name, ""), self.data_directory, slot.extra_names)
            for slot in self.plan.slots
        ]

    @property
    def generations(self) -> Mapping[str, int]:
        """Slot -> generation of the machine that is wanted in it."""
        return {slot.name: slot.generation for slot in self.plan.slots}

    @property
    def origins(self) -> Mapping[str, Origin]:
        """Slot -> where its machine comes from."""
        return self.plan.origins

    @property
    def on_volumes(self) -> bool:
        """Whether etcd's data are on volumes that are made for them, and outlive their machines."""
        return self.plan.on_volumes


def cloud_reader(
    name: str, needs: str, config: Callable[[Reading, Mapping[str, Any], dict[str, Any]], CloudConfig]
) -> Callable[[Reading], Machines]:
    """The reader of a cloud.

    Args:
        name: of the platform, and of its object.
        needs: what the object says at least.
        config: makes the cloud's own type, of a reading, the object, and the fields that all clouds have beside `plan`.
    """

    def read(reading: Reading) -> Machines:
        given, key = reading.given.get(name), f"{name}.slots"
        if given is None:
            if not any(problem.key.startswith(name) for problem in reading.problems):
                rule = f"The platform {name} needs {needs}"
                reading.refuse(name, "nothing", rule, f"Copy it from Pulumi.{name}.yaml")
            return Machines(key)
        fields = {
            "key": key,
            "data_directory": data_directory(reading),
            "operator": Ways(reading).operator(),
            "protect_volume": given.get("volume", {}).get("protect", True),
        }
        return config(reading, given, fields)

    return read


def access(given: Mapping[str, Any], operator: Operator) -> dict[str, Any]:
    """Who comes to the machines, and which way, as fields of a plan."""
    return {
        "architecture": given.get("architecture"),
        "operators": tuple(given.get("operators", ())),
        "clients": tuple(given.get("clients", ())),
        "metrics_clients": tuple(given.get("metricsClients", ())),
        "open_to_the_world": given.get("openToTheWorld", False),
        "public_ipv4": given.get("publicIpv4", True),
        "through_another_bastion": operator.bastion is not None,
    }


def slot_fields(slot: Mapping[str, Any]) -> dict[str, Any]:
    """What a slot's object says on every cloud, as fields of the plan's slot."""
    return {
        "name": slot.get("name", ""),
        "address": slot.get("address"),
        "generation": slot.get("generation", 1),
        "extra_names": tuple(slot.get("extraNames", ())),
    }


def spelling(root: str) -> Callable[[str], str]:
    """The key below `root` for an argument of a plan: `extra_names` is at `<root>.extraNames`."""
    return lambda name: f"{root}.{camel_case(name)}"


def note(reading: Reading, root: str, shared: Sequence[str], problems: Sequence[Problem]) -> None:
    """Notes what a plan's check has found, each key once: what could not be read at all is a problem already.

    Args:
        reading: the configuration.
        root: the key of the cloud's object.
        shared: the names that it may say for all, where a slot or the bastion does not say its own.
        problems: what was found.
    """
    for problem in problems:
        at = _where_given(problem.key, reading.given[root], root, shared)
        if not reading.refused(at):
            reading.problems.append(replace(problem, key=at))


def _where_given(key: str, given: Mapping[str, Any], root: str, shared: Sequence[str]) -> str:
    match = re.fullmatch(rf"{root}\.(?:slots\[(\d+)\]|(bastion))\.({'|'.join(shared)})", key)
    if match is None:
        return key
    own = given["slots"][int(match[1])] if match[1] else given.get("bastion", {})
    return key if match[3] in own else f"{root}.{match[3]}"
