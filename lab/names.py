"""Names and addresses of a lab, by pure functions.

Everything that a lab owns outside its directory carries the lab's id, which depends only on the directory's path. So
`down` finds all of it after a crash, even if the directory's files are lost.
"""

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import LabError

MAX_MACHINES = 89
_FIRST_HOST = 10  # slot 1 is .11: the bridge is .1, and tests can use the addresses in between
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RESERVED = {"localhost", "releases", "releases.lab"}


def lab_id(directory: Path) -> str:
    """The id of the lab in `directory` (absolute): 9 characters, also the name of its bridge and of its nft table.

    An interface name has at most 15 characters, and `vb-<id>-<slot>` must fit.
    """
    return "eel" + hashlib.sha256(str(directory).encode()).hexdigest()[:6]


def job_name(lab: str, slot: int) -> str:
    """The name on the computer of the machine in `slot`: for its nspawn, its cgroups and its network interface."""
    return f"{lab}-{slot}"


def cable(lab: str, slot: int) -> str:
    """The host's end of a machine's veth pair, as systemd-nspawn names it."""
    return f"vb-{job_name(lab, slot)}"


def parse_subnet(text: str) -> ipaddress.IPv4Network:
    """LAB_SUBNET as a network.

    Raises:
        LabError: not a private IPv4 /24.
    """
    try:
        subnet = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise LabError(
            f"LAB_SUBNET is {text!r}, which is not an IPv4 network ({error}). Give a private /24, such as 10.99.7.0/24."
        ) from None
    if subnet.prefixlen != 24 or not subnet.is_private:
        raise LabError(f"LAB_SUBNET is {text!r}; it must be a private /24. Give one, such as 10.99.7.0/24.")
    return subnet


def overlap(subnet: ipaddress.IPv4Network, taken: Mapping[ipaddress.IPv4Network, str]) -> str | None:
    """What uses a part of `subnet`, in words, or None. `taken` maps networks to their users."""
    for network, owner in taken.items():
        if network.overlaps(subnet):
            return f"{network} ({owner})"
    return None


def choose_subnet(
    lab: str, taken: Mapping[ipaddress.IPv4Network, str], wanted: str | None = None
) -> ipaddress.IPv4Network:
    """The /24 of a lab: `wanted`, or the first free 10.99.X.0/24 from an X that follows from the lab's id.

    Raises:
        LabError: the wanted range is not valid or in use, or none is free.
    """
    if wanted:
        subnet = parse_subnet(wanted)
        if owner := overlap(subnet, taken):
            raise LabError(
                f"LAB_SUBNET is {wanted}, but on this computer {owner} uses a part of it. "
                "Give another private /24, or unset it: then the lab chooses a free one."
            )
        return subnet
    start = int(lab.removeprefix("eel"), 16)
    for step in range(256):
        subnet = ipaddress.IPv4Network(f"10.99.{(start + step) % 256}.0/24")
        if not overlap(subnet, taken):
            return subnet
    owners = overlap(ipaddress.IPv4Network("10.99.0.0/16"), taken)
    raise LabError(
        f"There is no free 10.99.X.0/24 on this computer: {owners} uses them. Set LAB_SUBNET to a free private /24."
    )


def bridge_address(subnet: ipaddress.IPv4Network) -> str:
    """The computer's address in the lab, where the mirror listens."""
    return str(subnet.network_address + 1)


def machine_address(subnet: ipaddress.IPv4Network, slot: int) -> str:
    """The address of the machine in `slot` (1 is .11)."""
    return str(subnet.network_address + _FIRST_HOST + slot)


def check_names(names: Iterable[str]) -> list[str]:
    """The names, if each is a valid host name and none occurs twice.

    Raises:
        LabError: with the name and the rule it breaks.
    """
    seen: list[str] = []
    for name in names:
        if not _NAME.fullmatch(name):
            raise LabError(f"{name!r} is not a host name. Use a-z, 0-9 and '-', at most 63, and no '-' at the ends.")
        if name in _RESERVED:
            raise LabError(f"{name!r} has another meaning inside the lab. Choose another name.")
        if name in seen:
            raise LabError(f"{name!r} occurs twice. Give every machine its own name.")
        seen.append(name)
    return seen


def assign_slots(names: Iterable[str], used: Mapping[str, int]) -> dict[str, int]:
    """Slots for those of `names` that are not in `used`: etcd-4 gets slot 4 if free, other names the lowest free one.

    Raises:
        LabError: there are more machines than slots.
    """
    taken = set(used.values())
    slots: dict[str, int] = {}
    new = [name for name in names if name not in used]
    # Names with a number in them come first, so that no other name takes their slot.
    for name in sorted(new, key=lambda name: _wish(name) is None):
        wish = _wish(name)
        free = (slot for slot in range(1, MAX_MACHINES + 1) if slot not in taken)
        slot = wish if wish is not None and wish not in taken else next(free, None)
        if slot is None:
            raise LabError(f"There is no slot for {name!r}: a lab holds at most {MAX_MACHINES} machines. Remove some.")
        taken.add(slot)
        slots[name] = slot
    return slots


def _wish(name: str) -> int | None:
    match = re.fullmatch(r"etcd-([1-9]\d?)", name)
    slot = int(match[1]) if match else None
    return slot if slot is not None and slot <= MAX_MACHINES else None
