"""Addresses of slots: each follows from the slot's own name, so no other slot that comes or goes can change it."""

import ipaddress
import re
from collections.abc import Mapping, Sequence

from .addresses import check_address
from .cloud import CloudSlot
from .errors import Problem, shown

# The first ones of a subnet are for gateways, bastions and whatever else people put at its beginning.
FIRST = 10


def planned(subnet: ipaddress.IPv4Network, name: str) -> str | None:
    """The address that belongs to a name with a number at its end: the subnet's tenth plus that number.

    None for a name without a number, and where the subnet is too small for it.
    """
    number = re.search(r"\d{1,6}$", name, re.ASCII)
    if number is None:
        return None
    offset = FIRST + int(number[0])
    # The last one is the broadcast address.
    return str(subnet[offset]) if offset < subnet.num_addresses - 1 else None


def plan_addresses(subnet: ipaddress.IPv4Network, slots: Sequence[CloudSlot]) -> dict[str, str]:
    """Slot -> address, given or planned; slots for which `check_addresses` has a complaint may be left out."""
    found = {slot.name: slot.address or planned(subnet, slot.name) for slot in slots}
    return {name: address for name, address in found.items() if address is not None}


def check_addresses(
    subnet: ipaddress.IPv4Network, slots: Sequence[CloudSlot], key: str, reserved: Mapping[str, str]
) -> list[Problem]:
    """Why these slots cannot have their addresses; empty when they can.

    Args:
        subnet: where they are to be.
        slots: the slots in order.
        key: the key of their list; a problem is at `key[index].address`.
        reserved: address -> what it is for.
    """
    problems = []
    taken: dict[str, str] = {}
    for index, slot in enumerate(slots):
        at = f"{key}[{index}].address"
        address = slot.address or planned(subnet, slot.name)
        if address is None:
            rule = f"Without an address, a slot's name ends in a number for which {subnet} has room: {slot.name!r}"
            problems.append(Problem(at, "nothing", rule, "Name it like etcd-1, or give it an address"))
            continue
        wrong = check_address(address, at)
        problems += wrong
        if wrong:
            continue
        problems += _check_place(subnet, address, at, reserved)
        first = taken.setdefault(address, slot.name)
        if first != slot.name:
            rule = f"No two slots have the same address; {first} has it too"
            remedy = "Give each slot an address of its own, or a name with a number of its own"
            problems.append(Problem(at, shown(address), rule, remedy))
    return problems


def _check_place(subnet: ipaddress.IPv4Network, address: str, at: str, reserved: Mapping[str, str]) -> list[Problem]:
    ip = ipaddress.ip_address(address)
    if ip not in subnet:
        rule = f"The address of a slot lies in the subnet, {subnet}"
        return [
            Problem(
                at,
                shown(address),
                rule,
                f"Choose one from {subnet[FIRST]} on" if subnet.num_addresses > FIRST else "Choose one there",
            )
        ]
    for holds, what in (
        (ip == subnet.network_address, "the subnet's own"),
        (ip == subnet.broadcast_address, "the subnet's broadcast address"),
        (address in reserved, reserved.get(address, "")),
    ):
        if holds:
            return [Problem(at, shown(address), f"This address is reserved: it is {what}", "Choose another one")]
    return []
