"""The arguments of `AwsEtcdCluster` as a plan, and the rules between arguments."""

from collections.abc import Callable, Mapping
from typing import Any

from .aws import DEFAULT_ROOT_SIZE, DEFAULT_VPC, AwsBastion, AwsPlan, AwsSlot, AwsSubnet, check_aws
from .aws_bucket import DEFAULT_OLD_VERSION_DAYS, AwsBucket
from .aws_types import DEFAULT_IMAGE, AwsVolume
from .backup import PLACES, LockPlan
from .cloud import WantedType
from .cloud_arguments import access, check_downloads, slot_fields, types_of
from .errors import Problem

SHARED = ("instance_type", "image", "ami")
"""Arguments that are the defaults of slots and bastion."""


def aws_plan(
    cluster: str, args: Mapping[str, Any], *, region: str | None = None, through_another_bastion: bool
) -> AwsPlan:
    """The network and machines that these arguments describe, with all defaults.

    Args:
        cluster: name of the cluster.
        args: those of `AwsEtcdCluster`, without the cluster's.
        region: the provider's; None: not known.
        through_another_bastion: whether ssh goes through an existing bastion.
    """
    return AwsPlan(
        cluster=cluster,
        slots=_slots(args),
        subnets=_subnets(args),
        vpc_range=args.get("vpc_range", DEFAULT_VPC),
        vpc_id=args.get("vpc_id"),
        region=region,
        client_groups=tuple(args.get("client_groups", ())),
        nat_gateway=args.get("nat_gateway", False),
        volume=_volume(args),
        root_size=args.get("root_size", DEFAULT_ROOT_SIZE),
        bastion=_bastion(args),
        backup_bucket=_bucket(args),
        tags=args.get("tags", {}),
        **access(args, through_another_bastion=through_another_bastion),
    )


def check_arguments(
    plan: AwsPlan,
    args: Mapping[str, Any],
    cluster: Mapping[str, Any],
    spelled: Callable[[str], str] = str,
    of_cluster: Callable[[str], str] = str,
) -> list[Problem]:
    """Every reason why these arguments are not valid, as far as it can be checked offline; empty when there is none.

    Args:
        plan: their plan.
        args: those of `AwsEtcdCluster`, without the cluster's.
        cluster: those of the cluster.
        spelled: the user's spelling of an argument.
        of_cluster: the user's spelling of an argument of the cluster.
    """
    problems = check_aws(plan, spelled)
    if "zones" in args and "subnets" in args:
        rule = "The zones must be in zones or, with more settings, in subnets, not both"
        problems.insert(0, Problem(spelled("zones"), "a list", rule, "Remove one of the two"))
    problems += check_downloads(
        plan.public_ipv4 or plan.nat_gateway or plan.vpc_id is not None,
        cluster,
        "Machines without access to the internet need a mirror that they can reach",
        f"Set it to one in the VPC, or {spelled('nat_gateway')} to true",
        of_cluster,
    )
    return problems if plan.backup_bucket is None else problems + _check_places(args, cluster, spelled, of_cluster)


def wanted_types(plan: AwsPlan, spelled: Callable[[str], str] = str) -> list[WantedType]:
    """The instances of a plan without problems, and its bastion, except in an existing subnet, whose zone is not known.

    Args:
        spelled: the user's spelling of an argument.
    """
    slots = [(slot.name, slot.instance_type, plan.slot_zones[slot.name]) for slot in plan.slots]
    bastion = None
    if plan.bastion is not None and plan.bastion.subnet_id is None:
        # Its subnet is created in the first zone.
        bastion = (plan.bastion.instance_type, plan.subnets[0].zone)
    return types_of("instance_type", slots, bastion, spelled)


def _check_places(
    args: Mapping[str, Any],
    cluster: Mapping[str, Any],
    spelled: Callable[[str], str],
    of_cluster: Callable[[str], str],
) -> list[Problem]:
    """Why a bucket cannot be created for these snapshots."""
    key, at, backup = spelled("backup_bucket"), of_cluster("backup"), cluster.get("backup", {})
    problems = []
    for place in PLACES:
        if place in backup:
            rule = f"Snapshots go to exactly one place, and {key} creates one"
            problems.append(Problem(f"{at}.{place}", "a value", rule, "Remove one of the two"))
    if "keep" in backup:
        rule = f"Members cannot delete in the bucket of {key}: its own lifecycle does"
        remedy = f"Remove it, and set {key}.days to keep snapshots for so long"
        problems.append(Problem(f"{at}.keep", "a value", rule, remedy))
    if "instance_profile" in args:
        rule = f"A machine has one instance profile, and {key} creates it"
        remedy = (
            f"Remove it, or create the bucket yourself, set {at}.s3, and let your profile write, read and list there"
        )
        problems.append(Problem(spelled("instance_profile"), "a value", rule, remedy))
    return problems


def _slots(args: Mapping[str, Any]) -> list[AwsSlot]:
    return [
        AwsSlot(
            instance_type=slot.get("instance_type", args.get("instance_type", "")),
            image=slot.get("image", args.get("image", DEFAULT_IMAGE)),
            # The slot's own image takes precedence over the ID for all slots.
            ami=slot.get("ami", None if "image" in slot else args.get("ami")),
            zone=slot.get("zone"),
            **slot_fields(slot),
        )
        for slot in args.get("slots", [])
    ]


def _subnets(args: Mapping[str, Any]) -> list[AwsSubnet]:
    subnets = args.get("subnets")
    if subnets is None:
        return [AwsSubnet(zone) for zone in args.get("zones", [])]
    return [AwsSubnet(each.get("zone", ""), each.get("range"), each.get("id")) for each in subnets]


def _volume(args: Mapping[str, Any]) -> AwsVolume | None:
    wanted = args.get("volume")
    if wanted is None or "size" not in wanted:
        return None
    return AwsVolume(wanted["size"], wanted.get("type", "gp3"), wanted.get("iops"), wanted.get("throughput"))


def _bastion(args: Mapping[str, Any]) -> AwsBastion | None:
    wanted = args.get("bastion")
    if wanted is None:
        return None
    return AwsBastion(
        instance_type=wanted.get("instance_type", args.get("instance_type", "")),
        image=wanted.get("image", DEFAULT_IMAGE),
        ami=wanted.get("ami"),
        subnet_id=wanted.get("subnet_id"),
    )


def _bucket(args: Mapping[str, Any]) -> AwsBucket | None:
    wanted = args.get("backup_bucket")
    if wanted is None:
        return None
    lock = wanted.get("object_lock")
    return AwsBucket(
        name=wanted.get("name", ""),
        days=wanted.get("days"),
        old_version_days=wanted.get("old_version_days", DEFAULT_OLD_VERSION_DAYS),
        object_lock=None if lock is None else LockPlan(lock.get("mode", ""), lock.get("days", 0)),
    )
