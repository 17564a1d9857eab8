"""The object of a cloud in the configuration: what all clouds have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.plan import MemberPlan, Problem
from components.plan.cloud import CloudPlan
from components.plan.cloud_arguments import where_given
from components.plan.origin import Origin

from ..arguments import argument, camel_case
from ..platform import Machines, data_directory
from ..reading import Reading
from ..ssh_settings import Operator, SshSettings


@dataclass(frozen=True)
class CloudConfig(Machines):
    """Network and machines on a cloud, with all defaults. Each cloud has a subclass."""

    plan: CloudPlan
    args: Mapping[str, Any]
    """The arguments of the cloud's component, without those of the cluster and `ssh`."""
    operator: Operator

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
        config: creates the cloud's own type from a reading, the arguments of the cloud's component, and all common
            fields except these and `plan`.
    """

    def read(reading: Reading) -> Machines:
        given, key = reading.given.get(name), f"{name}.slots"
        if given is None:
            if not any(problem.key.startswith(name) for problem in reading.problems):
                rule = f"The platform {name} needs {needs}"
                reading.refuse(name, "nothing", rule, f"Copy it from Pulumi.{name}.yaml")
            return Machines(key)
        directory, operator = data_directory(reading), SshSettings(reading).operator()
        # The key of `extra_names` is `extraNames`.
        args = argument(given, reading.table.by_path[name], reading.table)
        fields = {"key": key, "data_directory": directory, "operator": operator}
        return config(reading, {**args, "data_directory": directory}, fields)

    return read


def spelling(root: str) -> Callable[[str], str]:
    """Maps an argument of a plan to its key: `extra_names` to `<root>.extraNames`."""
    return lambda name: f"{root}.{camel_case(name)}"


def note(reading: Reading, root: str, shared: Sequence[str], problems: Sequence[Problem]) -> None:
    """Notes the problems of a plan, one per key, except at keys that already have one.

    Args:
        root: the key of the cloud's object.
        shared: names of arguments in that object that are the defaults of slots and bastion.
    """
    for problem in where_given(problems, reading.given[root], [camel_case(each) for each in shared], f"{root}."):
        if not reading.refused(problem.key):
            reading.problems.append(problem)
