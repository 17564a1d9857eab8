"""Addresses of slots: each follows from its slot's name, so that adding or removing other slots does not change it."""

import ipaddress
import re
from collections.abc import Mapping, Sequence

from .cloud import CloudSlot
from .errors import Problem, shown
from .members import check_address

# The first addresses of a subnet are for gateways, bastions and the like.
FIRST = 10


def planned(subnet: ipaddress.IPv4Network, name: str) -> str | None:
    """The address for a name that ends in a number: address 10 of the subnet plus that number.

    None if the name has no number or the subnet is too small.
    """
    number = re.search(r"\d{1,6}$", name, re.ASCII)
    if number is None:
        return None
    offset = FIRST + int(number[0])
    # The last address is the broadcast address.
    return str(subnet[offset]) if offset < subnet.num_addresses - 1 else None


def plan_addresses(subnet: ipaddress.IPv4Network, slots: Sequence[CloudSlot]) -> dict[str, str]:
    """Slot -> address, given or planned; without slots that `check_addresses` refuses."""
    found = {slot.name: slot.address or planned(subnet, slot.name) for slot in slots}
    return {name: address for name, address in found.items() if address is not None}


def check_addresses(
    subnet: ipaddress.IPv4Network, slots: Sequence[CloudSlot], key: str, reserved: Mapping[str, str]
) -> list[Problem]:
    """Why these slots cannot have their addresses; empty when they can.

    Args:
        subnet: the subnet of all these slots.
        key: the key of their list; problems have `key[index].address`.
        reserved: address -> what it is for.
    """
    problems = []
    taken: dict[str, str] = {}
    for index, slot in enumerate(slots):
        at = f"{key}[{index}].address"
        address = slot.address or planned(subnet, slot.name)
        if address is None:
            rule = f"Without an address, a slot's name must end in a number that fits into {subnet}: {slot.name!r}"
            problems.append(Problem(at, "nothing", rule, "Name the slot like etcd-1, or set its address"))
            continue
        wrong = check_address(address, at)
        problems += wrong
        if wrong:
            continue
        problems += _check_place(subnet, address, at, reserved)
        first = taken.setdefault(address, slot.name)
        if first != slot.name:
            rule = f"Two slots cannot have the same address; {first} has it too"
            remedy = "Give each slot its own address, or a name with its own number"
            problems.append(Problem(at, shown(address), rule, remedy))
    return problems


def _check_place(subnet: ipaddress.IPv4Network, address: str, at: str, reserved: Mapping[str, str]) -> list[Problem]:
    ip = ipaddress.ip_address(address)
    if ip not in subnet:
        rule = f"The address of a slot must be in the subnet, {subnet}"
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
