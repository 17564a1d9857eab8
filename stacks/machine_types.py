"""Checks that the provider sells the machines that an update will create, with enough memory for the quota.

It asks the provider, because a table would be outdated soon, before any resource is declared. It asks only about new
machines and larger quotas, so most updates ask nothing. If the provider cannot be asked, that is a warning: creating
the machine fails later, or its memory is checked before etcd starts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pulumi

from components.plan.errors import Problem, shown
from components.plan.guard.state import read_state
from components.plan.sizes import GIB, MIB, parse_bytes

from .config import ConfigError, StackConfig
from .platform import BASTION, MachineType, Platform, WantedType


def check(stack: StackConfig, last: Mapping[str, Any]) -> None:
    """Refuses types that are not sold in their place, and a quota larger than the memory of a machine.

    Args:
        last: outputs of the last update, with `generations` and `bastion`.

    Raises:
        ConfigError: a type is not sold in its place, or has too little memory.
    """
    before = {slot: int(generation) for slot, generation in (last.get("generations") or {}).items()}
    wanted, generations = stack.machines.wanted_types, stack.machines.generations
    new = [
        each
        for each in wanted
        if (before.get(each.slot) != generations.get(each.slot) if each.slot else BASTION not in last)
    ]
    filled = [each for each in wanted if each.slot and (each in new or _raises_quota(stack))]
    types = {
        type_: stack.platform.machine_type(type_) for type_ in dict.fromkeys(each.type for each in [*filled, *new])
    }
    problems = [*_memory(filled, types, stack.plan.quota, stack.platform), *_places(new, types, stack.platform)]
    if problems:
        raise ConfigError(stack.cluster_name, problems)


def _raises_quota(stack: StackConfig) -> bool:
    before = read_state(stack.previous)
    return before is None or parse_bytes(stack.plan.quota) > before.quota_bytes


def _memory(
    wanted: Sequence[WantedType], types: Mapping[str, MachineType], quota: str | int, platform: Platform
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
            remedy = f"Set quota to {_size(memory)} or less, or choose a larger {platform.name}.{key}"
            yield Problem("quota", shown(quota), rule, remedy)


def _places(wanted: Sequence[WantedType], types: Mapping[str, MachineType], platform: Platform) -> Iterator[Problem]:
    """Problems of machine types with their places."""
    for type_ in dict.fromkeys(each.type for each in wanted):
        places = types[type_].places
        if isinstance(places, Exception):
            pulumi.log.warn(f"The availability of {type_} could not be checked: {_said(places)}")
            continue
        for each in (each for each in wanted if each.type == type_):
            if each.place not in places:
                yield _elsewhere(each, sorted(places), platform.provider)
            elif not places[each.place]:
                said = f"{each.key}: {platform.provider} reports that {type_} is currently sold out in {each.place}."
                pulumi.log.warn(said)


def _elsewhere(wanted: WantedType, places: Sequence[str], who: str) -> Problem:
    where = f"it is sold in {', '.join(places)}" if places else "it has no such type there or nearby"
    remedy = "Choose another type, or another place" if places else "Choose another type"
    return Problem(wanted.key, shown(wanted.type), f"{who} does not sell it in {wanted.place}; {where}", remedy)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _size(count: int) -> str:
    return f"{count // GIB}GiB" if count % GIB == 0 else f"{count // MIB}MiB"
