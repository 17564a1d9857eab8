"""A machine that Pulumi made goes when its slot leaves or its generation is raised, and by no other edit.

One row for each input that, when it changes, has a cloud's provider delete a machine, or a network, subnet or volume on
which it stands (`ForceNew` in the providers' schemas), or refuse the update in its middle.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..errors import Problem
from ..origin import MADE, PLATFORM, Origin
from .change import Change
from .state import State

_MANUAL = "docs/operations.md"
_MOVE = f"{_MANUAL}, 'To other machines, another network or platform', says how to move without losing it"
_NEW_SLOT = "or have a slot of another name there, which joins before this one leaves"


@dataclass(frozen=True)
class _Fact:
    """What is known of an origin."""

    what: str
    """Its name."""
    why: str
    """What another value of it would do."""
    way: str
    """What to do instead."""
    argument: str = ""
    """Key of the argument that decides it, below the platform's, where it is not the fact's own name."""
    of_slot: bool = False
    """Each slot has a value of its own."""


_FACTS = {
    PLATFORM: _Fact(
        "platform", "Another platform means other machines, and Pulumi deletes those that it has made", _MOVE
    ),
    "network_id": _Fact("network", "In another network there are other machines", _MOVE),
    "network_range": _Fact("range of the network", "Another range is another network, with other machines", _MOVE),
    "network_zone": _Fact("network zone", "In another zone there are other machines", _MOVE, argument="location"),
    "subnet_range": _Fact("range of the subnet", "Another range is another subnet, for other machines", _MOVE),
    "vpc_id": _Fact("VPC", "In another VPC there are other machines", _MOVE),
    "vpc_range": _Fact("range of the VPC", "Another range is another VPC, with other machines", _MOVE),
    "zone": _Fact("zone", "In another zone there is another machine", _NEW_SLOT, of_slot=True),
    "subnets": _Fact("subnet", "In another subnet there is another machine", _NEW_SLOT),
    "location": _Fact(
        "location",
        "A volume cannot follow its machine to another location",
        _NEW_SLOT,
        of_slot=True,
    ),
    "volume": _Fact("size of the volume", "A volume only ever grows", _NEW_SLOT, argument="volume.size"),
}


def aligned(before: State, wanted: State) -> tuple[State, State]:
    """Both, so that they differ in their origins exactly where a machine would.

    What an older program has not noted of a machine is taken to be as it is now: it is known from this update on. What
    is kept for a machine from when its generation began is as it was, whatever the configuration says by now.
    """
    old, new = dict(before.origins), dict(wanted.origins)
    for name in wanted.members:
        if name not in before.members:
            continue
        known, now = old.get(name, {}), new.get(name, {})
        unknown = {fact: value for fact, value in now.items() if fact not in known}
        if PLATFORM in unknown and name in before.generations and name not in wanted.generations:
            unknown[PLATFORM] = "one whose machines Pulumi makes"
        if unknown:
            old[name] = {**known, **unknown}
        if "location" in now and wanted.generations.get(name) == before.generations.get(name):
            new[name] = {**now, "location": old[name]["location"]}
    return replace(before, origins=old), replace(wanted, origins=new)


def keeps_machines(change: Change, spelled: Callable[[str], str]) -> Iterator[Problem]:
    """Why a member that stays would lose its machine, or its machine the network."""
    for name, fact in _FACTS.items():
        lost = [slot for slot in change.staying if name in changed(change, slot)]
        if not lost:
            continue
        before, after = (", ".join(_values(state, name, lost)) for state in (change.before, change.after))
        yield Problem(
            _key(change, name, fact, lost[0], spelled),
            after,
            f"{fact.why}; in the last update the {fact.what} of {', '.join(lost)} was {before}",
            f"Set it back{', ' if fact.way.startswith('or ') else '; '}{fact.way}",
        )


def changed(change: Change, slot: str) -> list[str]:
    """The facts by which a member that stays would get another machine, or that its machine cannot follow."""
    before, after = change.before.origins.get(slot, {}), change.after.origins.get(slot, {})
    if before.get(PLATFORM) != after.get(PLATFORM):
        return [PLATFORM]
    return [fact for fact in _FACTS if fact in before and fact in after and not _may(fact, before, after)]


def elsewhere(change: Change, slot: str) -> bool:
    """Whether a member that stays would be somewhere else, for which it has to have another address."""
    return bool({*changed(change, slot)} - {"volume", "location"})


def other_place(change: Change, slot: str) -> bool:
    """Whether the data of a member that stays were on a volume and would not be, or the other way round."""
    before, after = (state.origins.get(slot, {}).get("volume") for state in (change.before, change.after))
    return before is not None and after is not None and bool(before) != bool(after)


def _may(fact: str, before: Origin, after: Origin) -> bool:
    if before[fact] == after[fact]:
        return True
    if fact == "volume":
        # Whether there is one at all is another rule's.
        return not before[fact] or not after[fact] or int(before[fact]) < int(after[fact])
    # Another location comes with a raised generation alone, and what is on the local disk goes in any case.
    return fact == "location" and not before.get("volume")


def _values(state: State, fact: str, slots: list[str]) -> list[str]:
    found = dict.fromkeys(state.origins[slot].get(fact, "") for slot in slots)
    return [f"one that is {value}" if value == MADE else value for value in found]


def _key(change: Change, name: str, fact: _Fact, slot: str, spelled: Callable[[str], str]) -> str:
    if name == PLATFORM:
        return spelled(PLATFORM)
    argument = fact.argument or name
    if fact.of_slot:
        return f"{spelled('members')}[{list(change.after.members).index(slot)}].{spelled(argument)}"
    return spelled(f"{change.after.origins[slot][PLATFORM]}.{argument}")
