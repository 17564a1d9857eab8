"""What AWS's rules allow, as far as they can be known without asking it.

Sources: docs.aws.amazon.com/vpc (sizes of VPCs and subnets, reserved addresses, tags).
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from . import aws_zones, ranges
from .aws_types import (
    DEFAULT_IMAGE,
    AwsVolume,
    check_ami,
    check_id,
    check_image,
    check_type,
    check_volume,
)
from .cloud import ARCHITECTURES, CloudPlan, CloudSlot, check_access, check_slots
from .errors import Problem, shown
from .origin import MADE, PLATFORM, Origin, known, on_volume
from .slots import check_addresses, plan_addresses

DEFAULT_VPC = "10.2.0.0/16"
DEFAULT_ROOT_SIZE = 16
OWN_TAGS = ("Name", "cluster", "etcd", "member", "role")
_ROOT_GIB = (8, 16384)


@dataclass(frozen=True)
class AwsSubnet:
    """The subnet of one zone."""

    zone: str
    range: str | None = None
    """None: it follows from the zone's letter."""
    id: str | None = None
    """That of a subnet that exists; None: it is made."""


@dataclass(frozen=True, kw_only=True)
class AwsSlot(CloudSlot):
    """One slot and the machine that is wanted in it."""

    instance_type: str
    image: str = DEFAULT_IMAGE
    ami: str | None = None
    """Goes before the image."""
    zone: str | None = None
    """None: it follows from the name's number."""


@dataclass(frozen=True)
class AwsBastion:
    """The bastion that is to be made."""

    instance_type: str
    image: str = DEFAULT_IMAGE
    ami: str | None = None
    subnet_id: str | None = None
    """A subnet that exists and has a way to the internet; None: one is made for it."""


@dataclass(frozen=True, kw_only=True)
class AwsPlan(CloudPlan):
    """Network and machines of one cluster; `check_aws` says whether they can be.

    An image by name is looked for in the architecture of the machine.
    """

    slots: Sequence[AwsSlot]
    subnets: Sequence[AwsSubnet]
    vpc_range: str = DEFAULT_VPC
    vpc_id: str | None = None
    """That of a VPC that exists; None: it is made."""
    region: str | None = None
    """That of the provider, where it is known."""
    client_groups: Sequence[str] = ()
    nat_gateway: bool = False
    volume: AwsVolume | None = None
    """None: the root volume."""
    root_size: int = DEFAULT_ROOT_SIZE
    """GiB."""
    bastion: AwsBastion | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def zones(self) -> list[str]:
        """The zones in order."""
        return [subnet.zone for subnet in self.subnets]

    @property
    def ranges(self) -> dict[str, ipaddress.IPv4Network]:
        """Zone -> range of its subnet; a zone whose range cannot be is left out."""
        vpc = ranges.parse_range(self.vpc_range)
        found = {}
        for subnet in self.subnets:
            stated = ranges.parse_range(subnet.range)
            if subnet.range is None and isinstance(vpc, ipaddress.IPv4Network):
                stated = aws_zones.planned_subnet(vpc, subnet.zone)
            if isinstance(stated, ipaddress.IPv4Network):
                found[subnet.zone] = stated
        return found

    @property
    def edge_range(self) -> str | None:
        """Range of the subnet of the bastion and the NAT gateway; None when none is made."""
        vpc = ranges.parse_range(self.vpc_range)
        if (
            self.vpc_id is not None
            or not (self.bastion or self.nat_gateway)
            or not isinstance(vpc, ipaddress.IPv4Network)
        ):
            return None
        found = aws_zones.subnet_of(vpc, 0)
        return None if found is None else str(found)

    @property
    def slot_zones(self) -> dict[str, str]:
        """Slot -> its zone, for a plan without problems."""
        return aws_zones.plan_zones(self.zones, [(slot.name, slot.zone) for slot in self.slots])

    @property
    def addresses(self) -> dict[str, str]:
        """Slot -> private address, for a plan without problems."""
        found: dict[str, str] = {}
        zones = self.slot_zones
        for slot in self.slots:
            subnet = self.ranges.get(zones.get(slot.name, ""))
            if subnet is not None:
                found |= plan_addresses(subnet, [slot])
        return found

    @property
    def origins(self) -> dict[str, dict[str, str]]:
        """Slot -> where its machine comes from, for a plan without problems."""
        vpc = aws_network(vpc_id=self.vpc_id, vpc_range=self.vpc_range)
        subnets = {
            each.zone: aws_subnet(vpc, zone=each.zone, subnet_id=each.id, subnet_range=str(self.ranges[each.zone]))
            for each in self.subnets
        }
        size = None if self.volume is None else self.volume.size
        return {slot: on_volume(subnets[zone], size) for slot, zone in self.slot_zones.items()}

    @property
    def on_volumes(self) -> bool:
        """Whether etcd's data are on volumes."""
        return self.volume is not None


def aws_network(*, vpc_id: object, vpc_range: str) -> dict[str, str]:
    """What all machines of a cluster on AWS have in common.

    Args:
        vpc_id: that of a VPC that exists, left out unless it is a text by now; None: it is made.
        vpc_range: its range.
    """
    vpc = {"vpc_id": MADE, "vpc_range": vpc_range} if vpc_id is None else known("vpc_id", vpc_id)
    return {PLATFORM: "aws", **vpc}


def aws_subnet(network: Origin, *, zone: str, subnet_id: object, subnet_range: str) -> dict[str, str]:
    """What those of one zone have in common.

    Args:
        network: what all have in common.
        zone: availability zone, whose name begins with its region.
        subnet_id: ID of the subnet there, if it exists, left out unless it is a text by now; None: it is made.
        subnet_range: its range.
    """
    return {**network, "zone": zone, **known("subnets", subnet_range if subnet_id is None else subnet_id)}


def check_aws(plan: AwsPlan, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Every reason why this cannot be made; empty when nothing speaks against it offline.

    Args:
        plan: what is wanted.
        spelled: the user's spelling of an argument of the components, for the keys of the problems.
    """
    problems = _check_network(plan, spelled)
    problems += _check_slots(plan, spelled)
    problems += _check_bastion(plan, spelled)
    problems += _check_access(plan, spelled)
    if plan.volume is not None:
        problems += check_volume(plan.volume, spelled)
    if not _ROOT_GIB[0] <= plan.root_size <= _ROOT_GIB[1]:
        rule = f"A root volume has {_ROOT_GIB[0]} to {_ROOT_GIB[1]} GiB, and room for its image"
        problems.append(
            Problem(spelled("root_size"), shown(plan.root_size), rule, f"Leave it out for {DEFAULT_ROOT_SIZE}")
        )
    return problems + _check_tags(plan.tags, spelled("tags"))


def _check_network(plan: AwsPlan, spelled: Callable[[str], str]) -> list[Problem]:
    subnets, vpc_key = spelled("subnets"), spelled("vpc_range")
    stated = any(subnet.range is not None or subnet.id is not None for subnet in plan.subnets)
    zones_key = subnets if stated else spelled("zones")
    if not plan.subnets:
        if plan.vpc_id is not None:
            rule = "In a VPC that exists, the subnets exist too"
            return [Problem(subnets, "nothing", rule, f"State {subnets}: zone, range and id of each")]
        rule = "A cluster has a subnet in at least one zone, best in three"
        return [Problem(zones_key, "nothing", rule, "State three zones of the region")]
    problems = aws_zones.check_zones(plan.zones, zones_key, plan.region)
    if stated:
        problems = [
            Problem(re.sub(r"(\[\d+\])$", r"\1.zone", each.key), each.value, each.rule, each.remedy)
            for each in problems
        ]
    if plan.vpc_id is not None:
        problems += check_id(plan.vpc_id, "vpc", spelled("vpc_id"))
    problems += ranges.check_private_range(plan.vpc_range, vpc_key, longest=aws_zones.SMALLEST)
    problems += _check_largest(plan.vpc_range, vpc_key)
    for index, subnet in enumerate(plan.subnets):
        problems += _check_subnet(plan, subnet, f"{subnets}[{index}]", spelled)
    vpc = ranges.parse_range(plan.vpc_range)
    split = plan.edge_range is not None or any(subnet.range is None for subnet in plan.subnets)
    if split and plan.vpc_id is None and vpc is not None and vpc.prefixlen > aws_zones.SMALLEST_SPLIT and not problems:
        rule = f"The range of the VPC is /{aws_zones.SMALLEST_SPLIT} or larger, to be split into a subnet for each zone"
        problems.append(Problem(vpc_key, shown(plan.vpc_range), rule, f"Choose one like {DEFAULT_VPC}"))
    if problems:
        return problems
    beside = [(f"{subnets}[{index}].range", str(plan.ranges[each.zone])) for index, each in enumerate(plan.subnets)]
    if plan.edge_range is not None:
        beside.insert(0, ("the subnet for the way in and out", plan.edge_range))
    return ranges.check_overlaps(beside)


def _check_subnet(plan: AwsPlan, subnet: AwsSubnet, at: str, spelled: Callable[[str], str]) -> list[Problem]:
    problems: list[Problem] = []
    if subnet.id is not None:
        problems += check_id(subnet.id, "subnet", f"{at}.id")
        if plan.vpc_id is None:
            rule = "A subnet that exists is in a VPC that exists"
            problems.append(Problem(f"{at}.id", shown(subnet.id), rule, f"Set {spelled('vpc_id')}, or remove it"))
    elif plan.vpc_id is not None:
        rule = "In a VPC that exists, the subnets exist too"
        problems.append(Problem(f"{at}.id", "nothing", rule, "Set it to the subnet's ID"))
    if subnet.range is None:
        if plan.vpc_id is not None:
            rule = "The addresses of the slots follow from the range of their subnet"
            problems.append(Problem(f"{at}.range", "nothing", rule, "Set it to the range that the subnet has"))
        return problems
    problems += ranges.check_private_range(subnet.range, f"{at}.range", longest=aws_zones.SMALLEST)
    problems += _check_largest(subnet.range, f"{at}.range")
    if plan.vpc_id is None:
        problems += ranges.check_inside(subnet.range, plan.vpc_range, f"{at}.range", spelled("vpc_range"))
    return problems


def _check_largest(text: str, key: str) -> list[Problem]:
    found = ranges.parse_range(text)
    if not isinstance(found, ipaddress.IPv4Network) or found.prefixlen >= aws_zones.LARGEST:
        return []
    rule = f"The range is /{aws_zones.LARGEST} or smaller"
    return [Problem(key, shown(text), rule, f"Choose one like {next(found.subnets(new_prefix=aws_zones.LARGEST))}")]


def _check_slots(plan: AwsPlan, spelled: Callable[[str], str]) -> list[Problem]:
    key = spelled("slots")
    problems = check_slots(plan, key)
    for index, slot in enumerate(plan.slots):
        problems += _check_machine(plan, slot, f"{key}[{index}]", spelled)
    zones_key = spelled("zones" if all(each.range is None for each in plan.subnets) else "subnets")
    stated = [(slot.name, slot.zone) for slot in plan.slots]
    return problems + aws_zones.check_spread(plan.zones, stated, key, zones_key) + _check_addresses(plan, key)


def _check_addresses(plan: AwsPlan, key: str) -> list[Problem]:
    problems = []
    for zone, subnet in plan.ranges.items():
        if subnet.prefixlen > aws_zones.SMALLEST:
            continue
        reserved = {str(subnet[1]): "AWS's router", str(subnet[2]): "AWS's name server", str(subnet[3]): "AWS's own"}
        there = [index for index, slot in enumerate(plan.slots) if plan.slot_zones.get(slot.name) == zone]
        slots = [plan.slots[index] for index in there]
        for each in check_addresses(subnet, slots, "", reserved):
            found = re.fullmatch(r"\[(\d+)\](.*)", each.key)
            at = each.key if found is None else f"{key}[{there[int(found[1])]}]{found[2]}"
            problems.append(Problem(at, each.value, each.rule, each.remedy))
    return problems


def _check_machine(
    plan: AwsPlan, machine: AwsSlot | AwsBastion, at: str, spelled: Callable[[str], str], *, data: bool = True
) -> list[Problem]:
    said = spelled("instance_type").rpartition(".")[2]
    problems = []
    if machine.ami is not None:
        problems += check_ami(machine.ami, f"{at}.ami")
    else:
        problems += check_image(machine.image, f"{at}.image")
    if plan.architecture in (None, *ARCHITECTURES):
        # What the user says of the images is of the members' images.
        known, image = plan.architecture if data else None, machine.ami or machine.image
        volume = data and plan.volume is not None
        problems += check_type(machine.instance_type, known, image, f"{at}.{said}", volume=volume)
    return problems


def _check_bastion(plan: AwsPlan, spelled: Callable[[str], str]) -> list[Problem]:
    at = spelled("bastion")
    if plan.bastion is None:
        if plan.nat_gateway and plan.vpc_id is not None:
            rule = "The routes of a VPC that exists stay as they are"
            return [Problem(spelled("nat_gateway"), "true", rule, "Remove it; give the subnets a way out there")]
        return []
    problems = _check_machine(plan, plan.bastion, at, spelled, data=False)
    if plan.vpc_id is not None and plan.bastion.subnet_id is None:
        rule = "In a VPC that exists, a bastion is made in a subnet that exists, with a way to the internet"
        problems.append(Problem(f"{at}.{_last(spelled, 'subnet_id')}", "nothing", rule, "Set it to that subnet's ID"))
    if plan.bastion.subnet_id is not None:
        key = f"{at}.{_last(spelled, 'subnet_id')}"
        problems += check_id(plan.bastion.subnet_id, "subnet", key)
        if plan.vpc_id is None:
            rule = "A subnet that exists is in a VPC that exists"
            problems.append(Problem(key, shown(plan.bastion.subnet_id), rule, f"Set {spelled('vpc_id')}, or remove it"))
    return problems


def _last(spelled: Callable[[str], str], name: str) -> str:
    return spelled(name).rpartition(".")[2]


def _check_access(plan: AwsPlan, spelled: Callable[[str], str]) -> list[Problem]:
    problems = check_access(plan, spelled, public=plan.public_ipv4)
    for index, group in enumerate(plan.client_groups):
        problems += check_id(group, "sg", f"{spelled('client_groups')}[{index}]")
    if plan.public_ipv4 and plan.nat_gateway:
        rule = "Machines with public addresses need no NAT gateway"
        problems.append(
            Problem(spelled("nat_gateway"), "true", rule, f"Remove it, or set {spelled('public_ipv4')} to false")
        )
    if not plan.operators:
        rule = "ssh, port 22, is open to those ranges alone from which the operator comes"
        remedy = (
            "Name the range of the computer that runs pulumi, like 203.0.113.7/32; of a bastion that exists, its own"
        )
        problems.append(Problem(spelled("operators"), "nothing", rule, remedy))
    return problems


def _check_tags(tags: Mapping[str, str], key: str) -> list[Problem]:
    problems = []
    for name, value in tags.items():
        at = f"{key}.{name}"
        if name in OWN_TAGS:
            rule = f"The tags {', '.join(OWN_TAGS)} are set by the program"
            problems.append(Problem(at, shown(value), rule, "Choose another name"))
        elif name.lower().startswith("aws:") or not 1 <= len(name) <= 128 or len(value) > 256:
            rule = "A tag's name has 1 to 128 characters and does not begin with aws:, its value has up to 256"
            problems.append(Problem(at, shown(value), rule, "Shorten it"))
    return problems
