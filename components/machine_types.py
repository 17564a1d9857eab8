"""Checks that the provider sells the machines that an update will create, with enough memory for the quota.

It asks the provider, because a table would be outdated soon, before any resource is declared. It asks only about new
machines and larger quotas, so most updates ask nothing. If the provider cannot be asked, that is a warning: creating
the machine fails later, or its memory is checked before etcd starts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi

from .plan.cloud import WantedType
from .plan.errors import Problem, shown
from .plan.sizes import GIB, MIB, parse_bytes


@dataclass(frozen=True)
class MachineType:
    """The provider's answer about a machine type. A part that could not be asked is an exception."""

    memory: int | Exception
    """Bytes."""
    places: Mapping[str, bool] | Exception
    """Location or zone where it is sold -> whether it is available now. Empty: the type does not exist."""


@dataclass(frozen=True)
class Seller:
    """A provider, as messages name it and its arguments."""

    name: str
    """Its name."""
    machine_type: Callable[[str], MachineType]
    """Its answer about a type."""
    root: str = ""
    """The key of the platform's object, with a dot at its end; empty: arguments of a component."""


def check_types(
    wanted: Sequence[WantedType], new: Callable[[WantedType], bool], seller: Seller, quota: str | int, *, raised: bool
) -> list[Problem]:
    """Why the provider does not sell these types in their places, or their memory is too small; empty otherwise.

    Args:
        new: whether the machine is one that the update creates.
        quota: the desired quota.
        raised: whether it is more than in the last update, or that is not known.
    """
    bought = [each for each in wanted if new(each)]
    filled = [each for each in wanted if each.slot and (raised or each in bought)]
    types = {type_: seller.machine_type(type_) for type_ in dict.fromkeys(each.type for each in [*filled, *bought])}
    return [*_memory(filled, types, quota, seller.root), *_places(bought, types, seller.name)]


def _memory(
    wanted: Sequence[WantedType], types: Mapping[str, MachineType], quota: str | int, root: str
) -> Iterator[Problem]:
    """Problems of the quota with the memory of machines."""
    for type_ in dict.fromkeys(each.type for each in wanted):
        memory = types[type_].memory
        of_type = [each for each in wanted if each.type == type_]
        if isinstance(memory, Exception):
            pulumi.log.warn(f"The memory of {type_} could not be checked: {_said(memory)}")
        elif parse_bytes(quota) > memory:
            slots, key = ", ".join(each.slot for each in of_type), of_type[0].key.rpartition(".")[2]
            rule = f"The database must fit into memory, and a machine of type {type_} ({slots}) has {_size(memory)}"
            remedy = f"Set quota to {_size(memory)} or less, or choose a larger {root}{key}"
            yield Problem("quota", shown(quota), rule, remedy)


def _places(wanted: Sequence[WantedType], types: Mapping[str, MachineType], who: str) -> Iterator[Problem]:
    """Problems of machine types with their places."""
    for type_ in dict.fromkeys(each.type for each in wanted):
        places = types[type_].places
        if isinstance(places, Exception):
            pulumi.log.warn(f"The availability of {type_} could not be checked: {_said(places)}")
            continue
        for each in (each for each in wanted if each.type == type_):
            if each.place not in places:
                yield _elsewhere(each, sorted(places), who)
            elif not places[each.place]:
                pulumi.log.warn(f"{each.key}: {who} reports that {type_} is currently sold out in {each.place}.")


def _elsewhere(wanted: WantedType, places: Sequence[str], who: str) -> Problem:
    where = f"it is sold in {', '.join(places)}" if places else "it has no such type there or nearby"
    remedy = "Choose another type, or another place" if places else "Choose another type"
    return Problem(wanted.key, shown(wanted.type), f"{who} does not sell it in {wanted.place}; {where}", remedy)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _size(count: int) -> str:
    return f"{count // GIB}GiB" if count % GIB == 0 else f"{count // MIB}MiB"
