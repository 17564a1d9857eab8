"""Availability zones of AWS: the subnet of each zone, and the zone of each slot.

Both follow from names only (the zone's letter, the slot's number), so that adding or removing zones and slots does not
move others.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from .errors import Problem, shown

_ZONE = re.compile(r"([a-z]{2,3}(?:-[a-z]+)+-\d+)([a-z])", re.ASCII)
SMALLEST = 28
"""Longest prefix of a subnet."""
LARGEST = 16
"""Shortest prefix of a subnet and of a VPC's range."""
_SPLIT_BITS = 8
# A /25 or smaller cannot have a subnet for each letter.
SMALLEST_SPLIT = 24


def region_of(zone: str) -> str | None:
    """The region of an availability zone; None when it is not a valid name."""
    match = _ZONE.fullmatch(zone)
    return None if match is None else match[1]


def subnet_of(vpc: ipaddress.IPv4Network, number: int) -> ipaddress.IPv4Network | None:
    """The subnet with that number in an evenly split VPC; None when the VPC is too small."""
    longer = min(vpc.prefixlen + _SPLIT_BITS, SMALLEST)
    if number >= 2 ** (longer - vpc.prefixlen):
        return None
    start = int(vpc.network_address) + number * 2 ** (32 - longer)
    return ipaddress.IPv4Network((start, longer))


def planned_subnet(vpc: ipaddress.IPv4Network, zone: str) -> ipaddress.IPv4Network | None:
    """The subnet of a zone: number 1 for `a`, number 2 for `b`; number 0 is for the bastion and the NAT gateway.

    None when the name is not valid or the VPC is too small.
    """
    match = _ZONE.fullmatch(zone)
    return None if match is None else subnet_of(vpc, ord(match[2]) - ord("a") + 1)


def planned_zone(zones: Sequence[str], slot: str) -> str | None:
    """The zone of a slot without one: slots take the zones in turn, by number. None for a name without a number."""
    number = re.search(r"\d{1,6}$", slot, re.ASCII)
    return zones[(int(number[0]) - 1) % len(zones)] if number is not None and zones else None


def plan_zones(zones: Sequence[str], slots: Sequence[tuple[str, str | None]]) -> dict[str, str]:
    """Slot -> zone, given or planned; without slots that have none.

    Args:
        zones: the zones in order.
        slots: name and given zone of each.
    """
    found = {name: stated or planned_zone(zones, name) for name, stated in slots}
    return {name: zone for name, zone in found.items() if zone is not None}


def check_zones(zones: Sequence[str], key: str, region: str | None) -> list[Problem]:
    """Why these cannot be the zones of one cluster; empty when they can.

    Args:
        key: the key of their list.
        region: the provider's region; None: not known.
    """
    problems = []
    first = region
    for index, zone in enumerate(zones):
        at = f"{key}[{index}]"
        own = region_of(zone)
        if own is None:
            rule = "A zone must be a region and a letter"
            problems.append(Problem(at, shown(zone), rule, "Write it like eu-central-1a"))
            continue
        first = first or own
        if own != first:
            whose = "of the provider (aws:region)" if region else f"of {zones[0]}"
            rule = f"All zones must be in one region, that {whose}: {first}"
            problems.append(Problem(at, shown(zone), rule, f"Choose one like {first}a"))
    for zone, count in Counter(zones).items():
        if count > 1:
            rule = "Each zone can have only one subnet"
            problems.append(Problem(key, shown(zone), rule, "Remove the second one"))
    return problems


def check_spread(
    zones: Sequence[str], slots: Sequence[tuple[str, str | None]], key: str, zones_key: str
) -> list[Problem]:
    """Why slots cannot be in their zones; empty when they can.

    Args:
        zones: the zones in order.
        slots: name and given zone of each slot.
        key: the key of the list of slots.
        zones_key: the key of the zones.
    """
    problems: list[Problem] = []
    # Another check reports that there are no zones.
    for index, (name, stated) in enumerate(slots if zones else ()):
        at = f"{key}[{index}].zone"
        if stated is not None and stated not in zones:
            rule = f"A slot must be in one of the zones in {zones_key}: {', '.join(zones)}"
            problems.append(Problem(at, shown(stated), rule, "Choose one of them, or add it there"))
        elif stated is None and planned_zone(zones, name) is None:
            rule = f"Without a zone, a slot's name must end in a number: {name!r}"
            problems.append(Problem(at, "nothing", rule, "Name the slot like etcd-1, or set its zone"))
    if problems or not zones or all(stated is not None for _, stated in slots):
        return problems
    found = plan_zones(zones, slots)
    counts = Counter(dict.fromkeys(zones, 0))
    counts.update(found.values())
    if max(counts.values()) - min(counts.values()) > 1:
        said = ", ".join(f"{zone}: {count}" for zone, count in counts.items())
        rule = f"Slots must be spread evenly over the zones ({said}), unless each slot sets its zone"
        remedy = f"Set the zones; now they are {_said(found)}"
        problems.append(Problem(key, _said(found), rule, remedy))
    return problems


def _said(zones: Mapping[str, str]) -> str:
    return ", ".join(f"{name} in {zone}" for name, zone in zones.items())
