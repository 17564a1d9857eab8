"""Whether the provider sells the machines that an update is going to make, and with enough memory for the quota.

Asked of it, as no table keeps up, before anything is declared; only of machines that are yet to be made or get a larger
quota, so that most updates ask nothing. What cannot be asked is a warning: the provider says it when it makes the
machine, and the machine itself is asked before etcd starts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pulumi

from components.plan.errors import Problem, shown
from components.plan.guard.state import read_state
from components.plan.sizes import GIB, MIB, parse_bytes

from .config import ConfigError, StackConfig
from .platform import Platform, Sold, Ware


def check(stack: StackConfig, last: Mapping[str, Any]) -> None:
    """Refuses what is not sold where it is wanted, and a quota that is larger than the memory of a machine.

    Args:
        stack: the configuration.
        last: what the last update left in the output `generations`.

    Raises:
        ConfigError: a type is not sold where it is wanted, or has too little memory.
    """
    before = {slot: int(generation) for slot, generation in (last.get("generations") or {}).items()}
    wares, generations = stack.machines.wares, stack.machines.generations
    # Bastions are made with the first machines.
    new = [each for each in wares if before.get(each.slot) != generations.get(each.slot) or not (each.slot or before)]
    filled = [each for each in wares if each.slot and (each in new or _raises_quota(stack))]
    sold = {type_: stack.platform.sold(type_) for type_ in dict.fromkeys(each.type for each in [*filled, *new])}
    problems = [*_memory(filled, sold, stack.plan.quota, stack.platform), *_places(new, sold, stack.platform)]
    if problems:
        raise ConfigError(stack.cluster_name, problems)


def _raises_quota(stack: StackConfig) -> bool:
    before = read_state(stack.previous)
    return before is None or parse_bytes(stack.plan.quota) > before.quota_bytes


def _memory(wares: Sequence[Ware], sold: Mapping[str, Sold], quota: str | int, platform: Platform) -> Iterator[Problem]:
    """Why machines cannot have that quota."""
    for type_ in dict.fromkeys(each.type for each in wares):
        memory = sold[type_].memory
        of_type = [each for each in wares if each.type == type_]
        if isinstance(memory, Exception):
            pulumi.log.warn(f"How much memory {type_} has could not be asked: {_said(memory)}")
        elif parse_bytes(quota) > memory:
            slots, key = ", ".join(each.slot for each in of_type), of_type[0].key.rpartition(".")[2]
            rule = f"The database must fit into memory, and a machine of type {type_} ({slots}) has {_size(memory)}"
            remedy = f"Set quota to {_size(memory)} or less, or choose a larger {platform.name}.{key}"
            yield Problem("quota", shown(quota), rule, remedy)


def _places(wares: Sequence[Ware], sold: Mapping[str, Sold], platform: Platform) -> Iterator[Problem]:
    """Why machines cannot be had where they are wanted."""
    for type_ in dict.fromkeys(each.type for each in wares):
        places = sold[type_].places
        if isinstance(places, Exception):
            pulumi.log.warn(f"Whether {type_} is sold where it is wanted could not be asked: {_said(places)}")
            continue
        for each in (each for each in wares if each.type == type_):
            if each.place not in places:
                where = (
                    f"it has it in {', '.join(sorted(places))}"
                    if places
                    else "it has no such type there or anywhere near"
                )
                rule = f"{platform.provider} does not sell it in {each.place}; {where}"
                remedy = "Choose another type, or another place" if places else "Choose another type"
                yield Problem(each.key, shown(type_), rule, remedy)
            elif not places[each.place]:
                said = f"{each.key}: {type_} is sold out in {each.place} for now, as {platform.provider} says."
                pulumi.log.warn(said)


def _elsewhere(ware: Ware, places: Sequence[str], who: str) -> Problem:
    where = f"it has it in {', '.join(places)}" if places else "it has no such type there or anywhere near"
    remedy = "Choose another type, or another place" if places else "Choose another type"
    return Problem(ware.key, shown(ware.type), f"{who} does not sell it in {ware.place}; {where}", remedy)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _size(count: int) -> str:
    return f"{count // GIB}GiB" if count % GIB == 0 else f"{count // MIB}MiB"
