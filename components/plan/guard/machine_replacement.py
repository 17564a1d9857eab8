"""A machine that Pulumi created is deleted only when its slot is removed or its generation is raised.

One row for each input whose change makes a provider fail in the middle of the update, or delete a machine, its network,
subnet or volume (`ForceNew` in the providers' schemas).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..errors import Problem
from ..origin import MADE, PLATFORM, Origin
from .change import Change
from .state import State

_MANUAL = "docs/operations.md"
_MOVE = f"Set it back; for a safe way to move, see {_MANUAL}, 'To other machines, another network or platform'"
_NEW_SLOT = "Set it back, or add a slot with another name there: it joins before this one is removed"


@dataclass(frozen=True)
class _Fact:
    """How the guard reports a change of one fact of an origin."""

    what: str
    """Its name."""
    why: str
    """What another value of it would do."""
    way: str
    """What to do instead."""
    argument: str = ""
    """Key of its argument below the platform's; empty: the fact's own name."""
    of_slot: bool = False
    """Each slot has its own value."""


_FACTS = {
    PLATFORM: _Fact(
        "platform", "Another platform means other machines, and Pulumi would delete those that it created", _MOVE
    ),
    "network_id": _Fact("network", "Another network means other machines", _MOVE),
    "network_range": _Fact("range of the network", "Another range means another network with other machines", _MOVE),
    "network_zone": _Fact("network zone", "Another network zone means other machines", _MOVE, argument="location"),
    "subnet_range": _Fact("range of the subnet", "Another range means another subnet with other machines", _MOVE),
    "vpc_id": _Fact("VPC", "Another VPC means other machines", _MOVE),
    "vpc_range": _Fact("range of the VPC", "Another range means another VPC with other machines", _MOVE),
    "zone": _Fact("zone", "Another zone means another machine", _NEW_SLOT, of_slot=True),
    "subnets": _Fact("subnet", "Another subnet means another machine", _NEW_SLOT),
    "location": _Fact("location", "A volume cannot follow its machine to another location", _NEW_SLOT, of_slot=True),
    "volume": _Fact("size of the volume", "A volume can only grow", _NEW_SLOT, argument="volume.size"),
}


def aligned(before: State, wanted: State) -> tuple[State, State]:
    """Both states, with origins that differ exactly where a machine would be another one.

    A fact that an older program did not record counts as unchanged; from this update on, it is known. A location is
    fixed when a generation begins, so another configured location does not count before the next generation.
    """
    old, new = dict(before.origins), dict(wanted.origins)
    for name in wanted.members:
        if name not in before.members:
            continue
        known, now = old.get(name, {}), new.get(name, {})
        unknown = {fact: value for fact, value in now.items() if fact not in known}
        if PLATFORM in unknown and name in before.generations and name not in wanted.generations:
            unknown[PLATFORM] = "one whose machines Pulumi creates"
        if unknown:
            old[name] = {**known, **unknown}
        if "location" in now and wanted.generations.get(name) == before.generations.get(name):
            new[name] = {**now, "location": old[name]["location"]}
    return replace(before, origins=old), replace(wanted, origins=new)


def keeps_machines(change: Change, spelled: Callable[[str], str]) -> Iterator[Problem]:
    """Why a member that stays would lose its machine or its network."""
    for name, fact in _FACTS.items():
        lost = [slot for slot in change.staying if name in changed(change, slot)]
        if not lost:
            continue
        before, after = (", ".join(_values(state, name, lost)) for state in (change.before, change.after))
        yield Problem(
            _key(change, name, fact, lost[0], spelled),
            after,
            f"{fact.why}; in the last update, the {fact.what} of {', '.join(lost)} was {before}",
            fact.way,
        )


def changed(change: Change, slot: str) -> list[str]:
    """The facts that would give a member that stays another machine, or that its machine cannot follow."""
    before, after = change.before.origins.get(slot, {}), change.after.origins.get(slot, {})
    if before.get(PLATFORM) != after.get(PLATFORM):
        return [PLATFORM]
    return [fact for fact in _FACTS if fact in before and fact in after and not _may(fact, before, after)]


def elsewhere(change: Change, slot: str) -> bool:
    """Whether a member that stays would move to a place where its address must change."""
    return bool({*changed(change, slot)} - {"volume", "location"})


def other_place(change: Change, slot: str) -> bool:
    """Whether the data of a member that stays would move onto a volume or off one."""
    before, after = (state.origins.get(slot, {}).get("volume") for state in (change.before, change.after))
    return before is not None and after is not None and bool(before) != bool(after)


def _may(fact: str, before: Origin, after: Origin) -> bool:
    if before[fact] == after[fact]:
        return True
    if fact == "volume":
        # Another rule checks whether there is a volume at all.
        return not before[fact] or not after[fact] or int(before[fact]) < int(after[fact])
    # The location changes only with a raised generation, which deletes a local disk in any case.
    return fact == "location" and not before.get("volume")


def _values(state: State, fact: str, slots: list[str]) -> list[str]:
    found = dict.fromkeys(state.origins[slot].get(fact, "") for slot in slots)
    return ["created by Pulumi" if value == MADE else value for value in found]


def _key(change: Change, name: str, fact: _Fact, slot: str, spelled: Callable[[str], str]) -> str:
    if name == PLATFORM:
        return spelled(PLATFORM)
    argument = fact.argument or name
    if fact.of_slot:
        return f"{spelled('members')}[{list(change.after.members).index(slot)}].{spelled(argument)}"
    return spelled(f"{change.after.origins[slot][PLATFORM]}.{argument}")
