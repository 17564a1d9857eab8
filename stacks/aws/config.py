"""The object `aws` of the configuration, typed and checked by AWS's rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.plan.aws import DEFAULT_ROOT_SIZE, DEFAULT_VPC, AwsBastion, AwsPlan, AwsSlot, AwsSubnet, check_aws
from components.plan.aws_bucket import AwsBucket
from components.plan.aws_types import DEFAULT_IMAGE, AwsVolume

from ..clouds.config import CloudConfig, access, cloud_reader, note, slot_fields, spelling
from ..platform import WantedType
from ..reading import Reading
from .bucket import read_bucket

_SHARED = ("instanceType", "image", "ami")


@dataclass(frozen=True)
class AwsConfig(CloudConfig):
    """Network and machines on AWS, with all defaults."""

    plan: AwsPlan
    kms_key_id: str | None
    instance_profile: str | None
    bucket: AwsBucket | None
    protect_bucket: bool

    @property
    def store(self) -> Mapping[str, Any]:
        """The bucket of `aws.backupBucket`, in the provider's region."""
        return {} if self.bucket is None else {"bucket": self.bucket.name, "region": self.plan.region or ""}

    @property
    def wanted_types(self) -> Sequence[WantedType]:
        """The instances, and the bastion, except in an existing subnet, whose zone is not known here."""
        zones = self.plan.slot_zones
        slots = [
            WantedType(slot.name, f"{self.key}.{slot.name}.instanceType", slot.instance_type, zones[slot.name])
            for slot in self.plan.slots
        ]
        bastion = self.plan.bastion
        if bastion is None or bastion.subnet_id is not None:
            return slots
        # Its subnet is created in the first zone.
        return [*slots, WantedType("", "aws.bastion.instanceType", bastion.instance_type, self.plan.subnets[0].zone)]


def _read(reading: Reading, given: Mapping[str, Any], fields: dict[str, Any]) -> AwsConfig:
    if "zones" in given and "subnets" in given:
        rule = "The zones must be in zones or, with more settings, in subnets, not both"
        reading.refuse("aws.zones", "a list", rule, "Remove one of the two")
    plan = AwsPlan(
        cluster=reading.cluster,
        slots=_slots(given),
        subnets=_subnets(given),
        vpc_range=given.get("vpcRange", DEFAULT_VPC),
        vpc_id=given.get("vpcId"),
        region=_region(reading),
        client_groups=tuple(given.get("clientGroups", ())),
        nat_gateway=given.get("natGateway", False),
        volume=_volume(given),
        root_size=given.get("rootSize", DEFAULT_ROOT_SIZE),
        bastion=_bastion(given),
        tags=given.get("tags", {}),
        **access(given, fields["operator"]),
    )
    note(reading, "aws", _SHARED, check_aws(plan, spelling("aws")))
    elsewhere = {"releaseMirror", "releaseProxy"} & set(reading.given)
    if not (plan.public_ipv4 or plan.nat_gateway or plan.vpc_id or elsewhere):
        rule = "Machines without access to the internet need a mirror that they can reach"
        reading.refuse("releaseMirror", "nothing", rule, "Set it to one in the VPC, or aws.natGateway to true")
    return AwsConfig(
        plan=plan,
        kms_key_id=given.get("volume", {}).get("kmsKeyId"),
        instance_profile=given.get("instanceProfile"),
        bucket=read_bucket(reading, given, plan.region),
        protect_bucket=given.get("backupBucket", {}).get("protect", True),
        **fields,
    )


READ = cloud_reader("aws", "zones, an instance type and slots", _read)


def _region(reading: Reading) -> str | None:
    """The region of the provider; None if only a profile sets it."""
    names = ("aws:region", "AWS_REGION", "AWS_DEFAULT_REGION")
    return next((reading.settings[name] for name in names if reading.settings.get(name)), None)


def _slots(given: Mapping[str, Any]) -> list[AwsSlot]:
    return [
        AwsSlot(
            instance_type=slot.get("instanceType", given.get("instanceType", "")),
            image=slot.get("image", given.get("image", DEFAULT_IMAGE)),
            # The slot's own image takes precedence over the ID for all slots.
            ami=slot.get("ami", None if "image" in slot else given.get("ami")),
            zone=slot.get("zone"),
            **slot_fields(slot),
        )
        for slot in given.get("slots", [])
    ]


def _subnets(given: Mapping[str, Any]) -> list[AwsSubnet]:
    subnets = given.get("subnets")
    if subnets is None:
        return [AwsSubnet(zone) for zone in given.get("zones", [])]
    return [AwsSubnet(each.get("zone", ""), each.get("range"), each.get("id")) for each in subnets]


def _volume(given: Mapping[str, Any]) -> AwsVolume | None:
    wanted = given.get("volume")
    if wanted is None or "size" not in wanted:
        return None
    return AwsVolume(wanted["size"], wanted.get("type", "gp3"), wanted.get("iops"), wanted.get("throughput"))


def _bastion(given: Mapping[str, Any]) -> AwsBastion | None:
    wanted = given.get("bastion")
    if wanted is None:
        return None
    return AwsBastion(
        instance_type=wanted.get("instanceType", given.get("instanceType", "")),
        image=wanted.get("image", DEFAULT_IMAGE),
        ami=wanted.get("ami"),
        subnet_id=wanted.get("subnetId"),
    )
