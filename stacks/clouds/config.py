"""The object of a cloud in the configuration: what all clouds have in common."""

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
from ..ssh_settings import Operator, SshSettings


@dataclass(frozen=True)
class CloudConfig(Machines):
    """Network and machines on a cloud, with all defaults. Each cloud has a subclass."""

    plan: CloudPlan
    operator: Operator
    protect_volume: bool

    @property
    def members(self) -> Sequence[MemberPlan]:
        """The slots, for the cluster's plan."""
        addresses = self.plan.addresses
        return [
            MemberPlan(slot.name, addresses.get(slot.name, ""), self.data_directory, slot.extra_names)
            for slot in self.plan.slots
        ]

    @property
    def generations(self) -> Mapping[str, int]:
        """Slot -> generation of its desired machine."""
        return {slot.name: slot.generation for slot in self.plan.slots}

    @property
    def origins(self) -> Mapping[str, Origin]:
        """Slot -> `origin` of its machine."""
        return self.plan.origins

    @property
    def on_volumes(self) -> bool:
        """Whether etcd's data are on created volumes, which outlive their machines."""
        return self.plan.on_volumes


def cloud_reader(
    name: str, needs: str, config: Callable[[Reading, Mapping[str, Any], dict[str, Any]], CloudConfig]
) -> Callable[[Reading], Machines]:
    """The reader of a cloud.

    Args:
        name: name of the platform and of its object.
        needs: the minimum content of the object, for a message.
        config: creates the cloud's own type from a reading, the object, and all common fields except `plan`.
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
            "operator": SshSettings(reading).operator(),
            "protect_volume": given.get("volume", {}).get("protect", True),
        }
        return config(reading, given, fields)

    return read


def access(given: Mapping[str, Any], operator: Operator) -> dict[str, Any]:
    """Who can reach the machines, and how, as fields of a plan."""
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
    """The keys of a slot that all clouds have, as fields of the plan's slot."""
    return {
        "name": slot.get("name", ""),
        "address": slot.get("address"),
        "generation": slot.get("generation", 1),
        "extra_names": tuple(slot.get("extraNames", ())),
    }


def spelling(root: str) -> Callable[[str], str]:
    """Maps an argument of a plan to its key: `extra_names` to `<root>.extraNames`."""
    return lambda name: f"{root}.{camel_case(name)}"


def note(reading: Reading, root: str, shared: Sequence[str], problems: Sequence[Problem]) -> None:
    """Notes the problems of a plan, one per key, except at keys that already have one.

    Args:
        root: the key of the cloud's object.
        shared: names of keys in that object that are the defaults of slots and bastion.
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
