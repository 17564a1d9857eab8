"""What a platform is: its folder says it once, in a `Platform`, and nothing outside of the folder knows its name.

`docs/decisions/platforms.md` says how to add one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from components.plan import MemberPlan, Problem
from components.plan.origin import Origin
from components.plan.sizes import check_directory
from components.plan.spec import DEFAULT_DATA_DIRECTORY

from .reading import Reading
from .table import Key

if TYPE_CHECKING:
    from .config import StackConfig


@dataclass(frozen=True)
class Machines:
    """What a configuration says of the machines, every default filled in; as it is here, nothing."""

    key: str
    """The key at which the members are given."""
    data_directory: str = field(default=DEFAULT_DATA_DIRECTORY, kw_only=True)
    """Directory of etcd's data where a machine does not say otherwise."""

    @property
    def members(self) -> Sequence[MemberPlan]:
        """The slots as the cluster's plan has them."""
        return ()

    @property
    def generations(self) -> Mapping[str, int]:
        """Slot -> generation of the machine that is wanted in it; nothing where machines exist already."""
        return {}

    @property
    def origins(self) -> Mapping[str, Origin]:
        """Slot -> where its machine comes from; nothing where machines exist already."""
        return {}

    @property
    def on_volumes(self) -> bool:
        """Whether etcd's data are on volumes that are made for them, and outlive their machines."""
        return False

    @property
    def wanted_types(self) -> Sequence["WantedType"]:
        """The type of each machine that a provider has to sell; none where machines exist already."""
        return ()

    @property
    def compared_with(self) -> Sequence[str]:
        """The outputs of the last update that `compare` reads, beside that of the guard."""
        return ()

    def compare(self, last: Mapping[str, Any]) -> list[Problem]:  # noqa: ARG002
        """Why machines cannot follow those of the last update, beyond what the guard judges.

        Args:
            last: outputs of the last update.
        """
        return []


@dataclass(frozen=True)
class WantedType:
    """The type of a machine that a provider has to sell."""

    slot: str
    """Empty: a bastion, which is made with the first machines."""
    key: str
    """The key that says it."""
    type: str
    """What the provider calls it."""
    place: str
    """Where it is wanted: location or zone."""


@dataclass(frozen=True)
class Offer:
    """What a provider says of a type of machine, each part an exception where it could not be asked."""

    memory: int | Exception
    """Bytes."""
    places: Mapping[str, bool] | Exception
    """Where it is sold, location or zone -> whether there are any now; empty: there is no such type."""


@dataclass(frozen=True)
class Platform:
    """Where machines come from."""

    name: str
    """What the key `platform` calls it, and the object of its own keys if it has one."""
    about: str
    """Which machines these are, for the documentation: `made on ...`."""
    folder: str
    """The package that is it, with the modules `build` and, where there is a provider, `offers`. They alone load the
    SDK of a cloud, and are imported when the platform is in use."""
    keys: Sequence[Key]
    """Its own configuration keys."""
    read: Callable[[Reading], Machines]
    """Reads and checks them; what is wrong is noted in the reading, and the result counts for nothing then."""
    provider: str = ""
    """What its provider is called in messages; empty: it has none."""

    def build(self, stack: "StackConfig", before: Mapping[str, int]) -> dict[str, Any]:
        """Makes machines and cluster; returns the stack's outputs by name.

        Args:
            stack: the configuration.
            before: slot -> generation in the last update, as far as it is still to be compared.
        """
        outputs: dict[str, Any] = import_module(f"{self.folder}.build").build(stack, stack.machines, before)
        return outputs

    def offer(self, type_: str) -> Offer:
        """What the provider says of a type of machine."""
        found: Offer = import_module(f"{self.folder}.offers").offer(type_)
        return found


def data_directory(reading: Reading) -> str:
    """The directory of etcd's data where a machine does not say otherwise, checked once for all of them."""
    given: str = reading.given.get("dataDirectory", DEFAULT_DATA_DIRECTORY)
    wrong = check_directory(given, "dataDirectory")
    reading.problems += wrong
    return DEFAULT_DATA_DIRECTORY if wrong else given
