"""The rules of AWS that can be checked offline.

Sources: docs.aws.amazon.com/vpc (sizes of VPCs and subnets, reserved addresses, tags).
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from . import aws_zones, ranges
from .aws_bucket import AwsBucket, check_bucket
from .aws_types import DEFAULT_IMAGE, AwsVolume, check_ami, check_id, check_image, check_type, check_volume
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
    """The subnet of a zone."""

    zone: str
    range: str | None = None
    """None: from the zone's letter."""
    id: object = None
    """ID of an existing subnet, which may not be known yet; None: it is created."""


@dataclass(frozen=True, kw_only=True)
class AwsSlot(CloudSlot):
    """One slot and its desired machine."""

    instance_type: str
    image: str = DEFAULT_IMAGE
    ami: str | None = None
    """Takes precedence over the image."""
    zone: str | None = None
    """None: from the number in the name."""


@dataclass(frozen=True)
class AwsBastion:
    """The bastion to create."""

    instance_type: str
    image: str = DEFAULT_IMAGE
    ami: str | None = None
    subnet_id: object = None
    """ID of an existing subnet with internet access, which may not be known yet; None: a subnet is created."""


@dataclass(frozen=True, kw_only=True)
class AwsPlan(CloudPlan):
    """Network and machines of one cluster; `check_aws` checks them.

    An image by name is searched for the architecture of the machine.
    """

    slots: Sequence[AwsSlot]
    subnets: Sequence[AwsSubnet]
    vpc_range: str = DEFAULT_VPC
    vpc_id: object = None
    """ID of an existing VPC, which may not be known yet; None: it is created."""
    region: str | None = None
    """The provider's region; None: not known."""
    client_groups: Sequence[str] = ()
    nat_gateway: bool = False
    volume: AwsVolume | None = None
    """None: the root volume."""
    root_size: int = DEFAULT_ROOT_SIZE
    """GiB."""
    bastion: AwsBastion | None = None
    backup_bucket: AwsBucket | None = None
    """The bucket to create for snapshots."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def zones(self) -> list[str]:
        """The zones in order."""
        return [subnet.zone for subnet in self.subnets]

    @property
    def ranges(self) -> dict[str, ipaddress.IPv4Network]:
        """Zone -> range of its subnet; without zones whose range is not valid."""
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
        """Range of the subnet for the bastion and the NAT gateway; None when none is created."""
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
        """Slot -> zone, for a plan without problems."""
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
        """Slot -> origin of its machine, for a plan without problems."""
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
    """The origin that all machines of a cluster on AWS share.

    Args:
        vpc_id: ID of an existing VPC, ignored unless it is a text (known); None: it is created.
    """
    vpc = {"vpc_id": MADE, "vpc_range": vpc_range} if vpc_id is None else known("vpc_id", vpc_id)
    return {PLATFORM: "aws", **vpc}


def aws_subnet(network: Origin, *, zone: str, subnet_id: object, subnet_range: str) -> dict[str, str]:
    """The origin that all machines of one zone share.

    Args:
        network: the origin that all machines share.
        subnet_id: ID of an existing subnet, ignored unless it is a text (known); None: it is created.
    """
    return {**network, "zone": zone, **known("subnets", subnet_range if subnet_id is None else subnet_id)}


def check_aws(plan: AwsPlan, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Every reason why this plan is not valid, as far as it can be checked offline; empty when there is none.

    Args:
        spelled: the user's spelling of an argument of the components, for the keys of the problems.
    """
    problems = _check_network(plan, spelled)
    problems += _check_slots(plan, spelled)
    problems += _check_bastion(plan, spelled)
    problems += _check_access(plan, spelled)
    if plan.volume is not None:
        problems += check_volume(plan.volume, spelled)
    if not _ROOT_GIB[0] <= plan.root_size <= _ROOT_GIB[1]:
        rule = f"A root volume must have {_ROOT_GIB[0]} to {_ROOT_GIB[1]} GiB and space for its image"
        problems.append(
            Problem(
                spelled("root_size"), shown(plan.root_size), rule, f"Remove it for the default, {DEFAULT_ROOT_SIZE}"
            )
        )
    if plan.backup_bucket is not None:
        problems += check_bucket(plan.backup_bucket, lambda name: spelled(f"backup_bucket.{name}"))
    return problems + _check_tags(plan.tags, spelled("tags"))


def _check_network(plan: AwsPlan, spelled: Callable[[str], str]) -> list[Problem]:
    subnets, vpc_key = spelled("subnets"), spelled("vpc_range")
    stated = any(subnet.range is not None or subnet.id is not None for subnet in plan.subnets)
    zones_key = subnets if stated else spelled("zones")
    if not plan.subnets:
        if plan.vpc_id is not None:
            rule = "An existing VPC must have existing subnets"
            return [Problem(subnets, "nothing", rule, f"Set {subnets}: zone, range and id of each")]
        rule = "A cluster must have a subnet in at least one zone, better in three"
        return [Problem(zones_key, "nothing", rule, "Set three zones of the region")]
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
        rule = f"The range of the VPC must be /{aws_zones.SMALLEST_SPLIT} or larger, to have a subnet for each zone"
        problems.append(Problem(vpc_key, shown(plan.vpc_range), rule, f"Choose one like {DEFAULT_VPC}"))
    if problems:
        return problems
    beside = [(f"{subnets}[{index}].range", str(plan.ranges[each.zone])) for index, each in enumerate(plan.subnets)]
    if plan.edge_range is not None:
        beside.insert(0, ("the subnet of the bastion and the NAT gateway", plan.edge_range))
    return ranges.check_overlaps(beside)


def _check_subnet(plan: AwsPlan, subnet: AwsSubnet, at: str, spelled: Callable[[str], str]) -> list[Problem]:
    problems: list[Problem] = []
    if subnet.id is not None:
        problems += check_id(subnet.id, "subnet", f"{at}.id")
        if plan.vpc_id is None:
            rule = "An existing subnet must be in an existing VPC"
            problems.append(Problem(f"{at}.id", shown(subnet.id), rule, f"Set {spelled('vpc_id')}, or remove it"))
    elif plan.vpc_id is not None:
        rule = "An existing VPC must have existing subnets"
        problems.append(Problem(f"{at}.id", "nothing", rule, "Set it to the subnet's ID"))
    if subnet.range is None:
        if plan.vpc_id is not None:
            rule = "The range of an existing subnet must be set, because addresses of slots are derived from it"
            problems.append(Problem(f"{at}.range", "nothing", rule, "Set it to the range of the subnet"))
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
    rule = f"The range must be /{aws_zones.LARGEST} or smaller"
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
        # The configured architecture is that of the members' images, not of the bastion's.
        known, image = plan.architecture if data else None, machine.ami or machine.image
        volume = data and plan.volume is not None
        problems += check_type(machine.instance_type, known, image, f"{at}.{said}", volume=volume)
    return problems


def _check_bastion(plan: AwsPlan, spelled: Callable[[str], str]) -> list[Problem]:
    at = spelled("bastion")
    if plan.bastion is None:
        if plan.nat_gateway and plan.vpc_id is not None:
            rule = "The program does not change the routes of an existing VPC"
            return [
                Problem(spelled("nat_gateway"), "true", rule, "Remove it, and route the subnets to the internet there")
            ]
        return []
    problems = _check_machine(plan, plan.bastion, at, spelled, data=False)
    if plan.vpc_id is not None and plan.bastion.subnet_id is None:
        rule = "In an existing VPC, the bastion must be in an existing subnet with internet access"
        problems.append(Problem(f"{at}.{_last(spelled, 'subnet_id')}", "nothing", rule, "Set it to that subnet's ID"))
    if plan.bastion.subnet_id is not None:
        key = f"{at}.{_last(spelled, 'subnet_id')}"
        problems += check_id(plan.bastion.subnet_id, "subnet", key)
        if plan.vpc_id is None:
            rule = "An existing subnet must be in an existing VPC"
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
        rule = "Only these ranges can reach ssh, port 22, and the operator needs it"
        remedy = "Set the range of the computer that runs pulumi, like 203.0.113.7/32, or of an existing bastion"
        problems.append(Problem(spelled("operators"), "nothing", rule, remedy))
    return problems


def _check_tags(tags: Mapping[str, str], key: str) -> list[Problem]:
    problems = []
    for name, value in tags.items():
        at = f"{key}.{name}"
        if name in OWN_TAGS:
            rule = f"The program itself sets the tags {', '.join(OWN_TAGS)}"
            problems.append(Problem(at, shown(value), rule, "Choose another name"))
        elif name.lower().startswith("aws:") or not 1 <= len(name) <= 128 or len(value) > 256:
            rule = (
                "A tag's name must have 1 to 128 characters and not begin with aws:, its value at most 256 characters"
            )
            problems.append(Problem(at, shown(value), rule, "Shorten it"))
    return problems
