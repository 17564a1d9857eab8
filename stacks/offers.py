"""Whether the provider sells the machines that an update is going to make: asked of it, as no table keeps up."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.plan.errors import Problem, shown

from . import aws_config, hetzner_config
from .config import ConfigError, StackConfig

# How the provider of Hetzner says that there is no such type; that of AWS lists what there is.
_UNKNOWN = re.compile(r"Resource \(server type\) was not found")


@dataclass(frozen=True)
class _Wanted:
    """A machine that is to be made."""

    key: str
    type: str
    place: str
    """Location or zone."""


def check(stack: StackConfig, last: Mapping[str, Any]) -> None:
    """Asks before anything is declared; only for machines that are yet to be made, so that most updates ask nothing.

    What cannot be asked is a warning: the provider says it then when it makes the machine.

    Args:
        stack: the configuration.
        last: what the last update left in the output `generations`.

    Raises:
        ConfigError: a type is not sold where it is wanted.
    """
    before = {slot: int(generation) for slot, generation in (last.get("generations") or {}).items()}
    problems: list[Problem] = []
    if stack.hetzner is not None:
        problems += _hetzner(list(_servers(stack, before)))
    if stack.aws is not None:
        problems += _aws(list(_instances(stack, before)))
    if problems:
        raise ConfigError(stack.cluster_name, problems)


def _servers(stack: StackConfig, before: Mapping[str, int]) -> Iterator[_Wanted]:
    if stack.hetzner is None:
        return
    plan = stack.hetzner.plan
    for slot in plan.slots:
        if before.get(slot.name) != slot.generation:
            yield _Wanted(f"{hetzner_config.KEY}.slots.{slot.name}.serverType", slot.server_type, slot.location)
    if plan.bastion is not None and not before:
        yield _Wanted(f"{hetzner_config.KEY}.bastion.serverType", plan.bastion.server_type, plan.bastion.location)


def _instances(stack: StackConfig, before: Mapping[str, int]) -> Iterator[_Wanted]:
    if stack.aws is None:
        return
    plan = stack.aws.plan
    for slot in plan.slots:
        if before.get(slot.name) != slot.generation:
            yield _Wanted(
                f"{aws_config.KEY}.slots.{slot.name}.instanceType", slot.instance_type, plan.slot_zones[slot.name]
            )


def _hetzner(wanted: Sequence[_Wanted]) -> Iterator[Problem]:
    if not wanted:
        return
    import pulumi_hcloud as hcloud  # noqa: PLC0415  the SDK of the platform in use alone

    known: dict[str, Any] = {}
    for name in dict.fromkeys(each.type for each in wanted):
        try:
            known[name] = {each.name: each for each in hcloud.get_server_type(name=name).locations}
        except Exception as error:  # whatever the engine or the provider makes of it
            known[name] = {} if _UNKNOWN.search(str(error)) else None
            if known[name] is None:
                _not_asked(name, error)
    for each in wanted:
        places = known[each.type]
        if places is None:
            continue
        if each.place not in places:
            yield _refused(each, "Hetzner", sorted(places))
        elif not places[each.place].available:
            pulumi.log.warn(f"{each.key}: {each.type} is sold out in {each.place} for now, as Hetzner says.")


def _aws(wanted: Sequence[_Wanted]) -> Iterator[Problem]:
    if not wanted:
        return
    import pulumi_aws as aws  # noqa: PLC0415  the SDK of the platform in use alone

    types = list(dict.fromkeys(each.type for each in wanted))
    try:
        found = aws.ec2.get_instance_type_offerings(
            filters=[{"name": "instance-type", "values": types}], location_type="availability-zone"
        )
    except Exception as error:  # whatever the engine or the provider makes of it
        _not_asked(", ".join(types), error)
        return
    sold = set(zip(found.instance_types, found.locations, strict=True))
    for each in wanted:
        if (each.type, each.place) not in sold:
            yield _refused(each, "AWS", sorted(zone for type_, zone in sold if type_ == each.type))


def _refused(wanted: _Wanted, who: str, places: Sequence[str]) -> Problem:
    where = f"it has it in {', '.join(places)}" if places else "it has no such type there or anywhere near"
    remedy = "Choose another type, or another place" if places else "Choose another type"
    return Problem(wanted.key, shown(wanted.type), f"{who} does not sell it in {wanted.place}; {where}", remedy)


def _not_asked(types: str, error: Exception) -> None:
    text = " ".join(str(error).split())[:200]
    pulumi.log.warn(f"Whether {types} is sold where it is wanted could not be asked: {text}")
