"""A platform: its folder defines it once, as a `Platform`, and nothing outside the folder uses its name.

`docs/decisions/platforms.md` explains how to add one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from components.machine_types import MachineType
from components.plan import MemberPlan, Problem
from components.plan.cloud import WantedType
from components.plan.data_directories import check_directory
from components.plan.origin import Origin
from components.plan.spec import DEFAULT_DATA_DIRECTORY

from .key_table import Key
from .reading import Reading

if TYPE_CHECKING:
    from .config import StackConfig

BASTION = "bastion"
"""The stack's output of a created bastion; missing without one."""


@dataclass(frozen=True)
class Machines:
    """The configured machines, with all defaults. This base class has none."""

    key: str
    """The configuration key of the members."""
    data_directory: str = field(default=DEFAULT_DATA_DIRECTORY, kw_only=True)
    """Default directory of etcd's data."""

    @property
    def members(self) -> Sequence[MemberPlan]:
        """The slots, for the cluster's plan."""
        return ()

    @property
    def generations(self) -> Mapping[str, int]:
        """Slot -> generation of its desired machine; empty for existing machines."""
        return {}

    @property
    def origins(self) -> Mapping[str, Origin]:
        """Slot -> `origin` of its machine; empty for existing machines."""
        return {}

    @property
    def on_volumes(self) -> bool:
        """Whether etcd's data are on created volumes, which outlive their machines."""
        return False

    @property
    def store(self) -> Mapping[str, Any]:
        """`s3` of `backup`, if this platform creates the place of the snapshots; empty: the configuration has it."""
        return {}

    @property
    def wanted_types(self) -> Sequence[WantedType]:
        """The machine types that the provider must sell; empty for existing machines."""
        return ()

    @property
    def compared_with(self) -> Sequence[str]:
        """The outputs of the last update that `compare` reads, besides those of the guard."""
        return ()

    def compare(self, last: Mapping[str, Any]) -> list[Problem]:  # noqa: ARG002
        """Problems of the change since the last update that only this platform knows; `last` are its outputs."""
        return []


@dataclass(frozen=True)
class Platform:
    """Where machines come from."""

    name: str
    """Value of the key `platform`, and name of the object with its own keys, if any."""
    about: str
    """Its machines, for the documentation: `created on ...`."""
    folder: str
    """Its package, with the modules `build` and, if there is a provider, `machine_types`. Only these load the SDK of a
    cloud, and they are imported only when the platform is used."""
    keys: Sequence[Key]
    """Its own configuration keys."""
    read: Callable[[Reading], Machines]
    """Reads and checks these keys. Problems are noted in the reading; the result is then invalid."""
    provider: str = ""
    """Name of its provider in messages; empty: none."""

    def build(self, stack: "StackConfig", before: Mapping[str, int]) -> dict[str, Any]:
        """Declares machines and cluster; returns the stack's outputs by name.

        Args:
            before: slot -> generation in the last update; empty if already compared.
        """
        outputs: dict[str, Any] = import_module(f"{self.folder}.build").build(stack, stack.machines, before)
        return outputs

    def machine_type(self, type_: str) -> MachineType:
        """The provider's answer about a machine type."""
        found: MachineType = import_module(f"{self.folder}.machine_types").machine_type(type_)
        return found


def data_directory(reading: Reading) -> str:
    """The default directory of etcd's data, checked once for all machines."""
    given: str = reading.given.get("dataDirectory", DEFAULT_DATA_DIRECTORY)
    wrong = check_directory(given, "dataDirectory")
    reading.problems += wrong
    return DEFAULT_DATA_DIRECTORY if wrong else given
