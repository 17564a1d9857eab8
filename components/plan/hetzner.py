"""The rules of Hetzner Cloud that can be checked offline.

Sources: docs.hetzner.com/cloud/networks/faq (zones, reserved addresses), docs.hetzner.cloud (ranges, labels, volumes),
docs.hetzner.com/cloud/placement-groups (servers in a group).
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from . import ranges
from .cloud import ARCHITECTURES, BASTION, CloudPlan, CloudSlot, check_access, check_slots
from .errors import Problem, did_you_mean, shown
from .origin import MADE, PLATFORM, Origin, known, on_volume
from .slots import check_addresses, plan_addresses

ZONES = {
    "fsn1": "eu-central",
    "nbg1": "eu-central",
    "hel1": "eu-central",
    "ash": "us-east",
    "hil": "us-west",
    "sin": "ap-southeast",
}
"""Location -> network zone."""

DEFAULT_IMAGE = "debian-12"
DEFAULT_NETWORK = "10.1.0.0/16"
DEFAULT_SUBNET = "10.1.1.0/24"
SPREAD_LIMIT = 10
_NETWORK_LONGEST = 24
_SUBNET_LONGEST = 28
_VOLUME_GB = (10, 10240)
# Letters of a server type -> architecture of its CPUs; other types are not checked.
_TYPES = {"cx": "amd64", "cpx": "amd64", "ccx": "amd64", "cax": "arm64"}
_GATEWAY = "172.31.1.1"
_OWN_LABELS = ("cluster", "etcd", "member")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class HetznerSlot(CloudSlot):
    """One slot and its desired machine."""

    location: str
    server_type: str
    image: str = DEFAULT_IMAGE


@dataclass(frozen=True)
class HetznerBastion:
    """The bastion to create."""

    location: str
    server_type: str
    image: str = DEFAULT_IMAGE
    address: str | None = None
    """None: address 5 of the subnet."""


@dataclass(frozen=True, kw_only=True)
class HetznerPlan(CloudPlan):
    """Network and machines of one cluster; `check_hetzner` checks them.

    The architecture of a machine is that in its image's name, else `architecture`, else that of its server type.
    """

    slots: Sequence[HetznerSlot]
    network_id: object = None
    """ID of an existing network, which may not be known yet; None: it is created."""
    network_range: str = DEFAULT_NETWORK
    subnet_range: str = DEFAULT_SUBNET
    public_ipv6: bool = False
    volume_size: int | None = None
    """GB; None: the local disk."""
    bastion: HetznerBastion | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def addresses(self) -> dict[str, str]:
        """Slot -> private address, for a plan without problems."""
        subnet = ranges.parse_range(self.subnet_range)
        if not isinstance(subnet, ipaddress.IPv4Network):
            return {}
        return plan_addresses(subnet, self.slots)

    @property
    def bastion_address(self) -> str | None:
        """Private address of the bastion to create."""
        subnet = ranges.parse_range(self.subnet_range)
        if self.bastion is None or not isinstance(subnet, ipaddress.IPv4Network):
            return None
        return self.bastion.address or str(subnet[5])

    @property
    def zone(self) -> str:
        """The network zone of its locations."""
        return ZONES[self.slots[0].location]

    @property
    def origins(self) -> dict[str, dict[str, str]]:
        """Slot -> origin of its machine, for a plan without problems."""
        network = hetzner_network(
            network_id=self.network_id, network_range=self.network_range, subnet_range=self.subnet_range, zone=self.zone
        )
        return {
            slot.name: hetzner_machine(network, location=slot.location, volume=self.volume_size) for slot in self.slots
        }

    @property
    def on_volumes(self) -> bool:
        """Whether etcd's data are on volumes."""
        return self.volume_size is not None

    @property
    def gateway(self) -> str:
        """The network's gateway: the first address of its range."""
        return str(ipaddress.IPv4Network(self.network_range)[1])


def hetzner_network(*, network_id: object, network_range: str, subnet_range: str, zone: str) -> dict[str, str]:
    """The origin that all machines of a cluster on Hetzner Cloud share.

    Args:
        network_id: ID of an existing network, ignored unless it is a number (known); None: it is created.
        subnet_range: range of the subnet that is created in it.
        zone: network zone of the subnet.
    """
    made = {"network_id": MADE, "network_range": network_range}
    # Other languages pass numbers as floats.
    number = str(int(network_id)) if isinstance(network_id, int | float) else None
    network = made if network_id is None else known("network_id", number)
    return {PLATFORM: "hetzner", **network, "subnet_range": subnet_range, "network_zone": zone}


def hetzner_machine(network: Origin, *, location: str, volume: int | None) -> dict[str, str]:
    """The origin of one machine.

    Args:
        network: the origin that all machines share.
        volume: size of its volume in GB; None: no volume.
    """
    return on_volume({**network, "location": location}, volume)


def check_hetzner(plan: HetznerPlan, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Every reason why this plan is not valid, as far as it can be checked offline; empty when there is none.

    Args:
        spelled: the user's spelling of an argument of the components, for the keys of the problems.
    """
    problems = _check_network(plan, spelled)
    problems += _check_slots(plan, spelled)
    problems += _check_access(plan, spelled)
    if plan.volume_size is not None and not _VOLUME_GB[0] <= plan.volume_size <= _VOLUME_GB[1]:
        rule = f"A volume must have {_VOLUME_GB[0]} to {_VOLUME_GB[1]} GB"
        problems.append(Problem(spelled("volume_size"), shown(plan.volume_size), rule, "Choose 10 for most clusters"))
    problems += _check_labels(plan.labels, spelled("labels"))
    return problems


def _check_network(plan: HetznerPlan, spelled: Callable[[str], str]) -> list[Problem]:
    network, subnet = spelled("network_range"), spelled("subnet_range")
    problems = ranges.check_private_range(plan.network_range, network, longest=_NETWORK_LONGEST)
    problems += ranges.check_private_range(plan.subnet_range, subnet, longest=_SUBNET_LONGEST)
    return problems + ranges.check_inside(plan.subnet_range, plan.network_range, subnet, network)


def _check_slots(plan: HetznerPlan, spelled: Callable[[str], str]) -> list[Problem]:
    key = spelled("slots")
    problems = check_slots(plan, key)
    if len(plan.slots) > SPREAD_LIMIT:
        rule = f"A spread placement group can have at most {SPREAD_LIMIT} servers"
        problems.append(Problem(key, f"{len(plan.slots)} slots", rule, "Configure 3 or 5"))
    zones: dict[str, str] = {}
    for index, slot in enumerate(plan.slots):
        at = f"{key}[{index}]"
        problems += _check_machine(plan, slot, at, spelled)
        zone = ZONES.get(slot.location)
        if zone is not None:
            first = next(iter(zones), zone)
            zones.setdefault(zone, slot.location)
            if zone != first:
                rule = f"Locations must be in one network zone; {zones[first]} is in {first}, {slot.location} in {zone}"
                same = ", ".join(name for name, of in ZONES.items() if of == first)
                problems.append(Problem(f"{at}.location", shown(slot.location), rule, f"Choose from {same}"))
        if len(f"{plan.cluster}-{slot.name}") > 63:
            rule = "A server's name, <cluster>-<slot>, can have at most 63 characters"
            problems.append(Problem(f"{at}.name", shown(slot.name), rule, "Shorten one of the two"))
    if plan.bastion is not None:
        at = spelled("bastion")
        problems += _check_machine(plan, plan.bastion, at, spelled, own_architecture=False)
    return problems + _check_addresses(plan, spelled)


def _check_addresses(plan: HetznerPlan, spelled: Callable[[str], str]) -> list[Problem]:
    subnet, network = ranges.parse_range(plan.subnet_range), ranges.parse_range(plan.network_range)
    # Other checks report ranges that are not valid.
    if not isinstance(subnet, ipaddress.IPv4Network) or not isinstance(network, ipaddress.IPv4Network):
        return []
    if subnet.prefixlen > _SUBNET_LONGEST or network.prefixlen > _NETWORK_LONGEST:
        return []
    reserved = {str(network[1]): "the network's gateway", _GATEWAY: "the gateway of the public interface"}
    problems = []
    if plan.bastion_address is not None:
        one = CloudSlot(name=BASTION, address=plan.bastion_address)
        found = check_addresses(subnet, [one], "", reserved)
        at = f"{spelled('bastion')}.address"
        problems += [Problem(at, each.value, each.rule, each.remedy) for each in found]
        reserved[plan.bastion_address] = "the bastion's"
    return problems + check_addresses(subnet, plan.slots, spelled("slots"), reserved)


def _check_machine(
    plan: HetznerPlan,
    slot: HetznerSlot | HetznerBastion,
    at: str,
    spelled: Callable[[str], str],
    *,
    own_architecture: bool = True,
) -> list[Problem]:
    type_, location_ = spelled("server_type"), "location"
    problems = []
    if slot.location not in ZONES:
        remedy = did_you_mean(slot.location, ZONES) or f"Choose from {', '.join(ZONES)}"
        rule = f"The location must be one of {', '.join(ZONES)}"
        problems.append(Problem(f"{at}.{location_}", shown(slot.location), rule, remedy))
    match = re.fullmatch(r"([a-z]+)(\d+)", slot.server_type, re.ASCII)
    key = f"{at}.{type_.rpartition('.')[2]}"
    if match is None:
        rule = "A server type must be letters and a number"
        problems.append(Problem(key, shown(slot.server_type), rule, "Write it like cax11 or cpx21"))
        return problems
    architecture = _TYPES.get(match[1])
    wanted = _named_architecture(slot.image) or (plan.architecture if own_architecture else None)
    if wanted is not None and wanted not in ARCHITECTURES:
        return problems  # `check_access` reports it once
    if architecture is not None and wanted is not None and architecture != wanted:
        rule = (
            f"Image and server must have the same architecture: {slot.server_type} is {architecture}, {slot.image} is "
            f"{wanted}"
        )
        other = next(letters for letters, each in _TYPES.items() if each == wanted)
        remedy = f"Choose an image for {architecture}, or a server type for {wanted}, like those of {other}"
        problems.append(Problem(key, shown(slot.server_type), rule, remedy))
    return problems


def _named_architecture(image: str) -> str | None:
    """The architecture in an image's name; None: none is named."""
    words = re.split(r"[^a-z0-9]+", image.lower())
    if {"arm64", "aarch64", "arm"} & set(words):
        return "arm64"
    return "amd64" if {"amd64", "x64"} & set(words) or "x86_64" in image.lower() else None


def _check_access(plan: HetznerPlan, spelled: Callable[[str], str]) -> list[Problem]:
    problems = check_access(plan, spelled, public=plan.public_ipv4 or plan.public_ipv6)
    if not plan.operators and not plan.through_another_bastion:
        rule = "Only these ranges can reach ssh, port 22, and the operator needs it"
        remedy = "Set the range of the computer that runs pulumi, like 203.0.113.7/32"
        problems.append(Problem(spelled("operators"), "nothing", rule, remedy))
    return problems


def _check_labels(labels: Mapping[str, str], key: str) -> list[Problem]:
    problems = []
    for name, value in labels.items():
        at = f"{key}.{name}"
        if name in _OWN_LABELS:
            rule = f"The program itself sets the labels {', '.join(_OWN_LABELS)}"
            problems.append(Problem(at, shown(value), rule, "Choose another name"))
        elif not _LABEL.fullmatch(name.rpartition("/")[2]) or (value and not _LABEL.fullmatch(value)):
            rule = (
                "Name and value of a label must have at most 63 of A-Z, a-z, 0-9, -, _ and ., and none of -_. at an end"
            )
            problems.append(Problem(at, shown(value), rule, "Use only these characters"))
    return problems
