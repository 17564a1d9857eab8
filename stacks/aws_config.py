"""The object `aws` of the configuration, typed and compared with AWS's rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.plan.aws import (
    DEFAULT_ROOT_SIZE,
    DEFAULT_VPC,
    AwsBastion,
    AwsPlan,
    AwsSlot,
    AwsSubnet,
    check_aws,
)
from components.plan.aws_types import DEFAULT_IMAGE, AwsVolume
from components.plan.errors import Problem

from .spelling import spelling, where_given

KEY = "aws"
_SHARED = ("instanceType", "image", "ami")


@dataclass(frozen=True)
class AwsConfig:
    """Network and machines on AWS, every default filled in."""

    plan: AwsPlan
    protect_volume: bool = True
    kms_key_id: str | None = None
    instance_profile: str | None = None
    user: str = ""
    private_key: str = field(default="", repr=False)
    """The operator's own key; empty: one is made, or it is in an agent."""
    public_key: str = ""
    """The operator's own public key; empty: one is made."""
    passphrase: str = field(default="", repr=False)
    """Of the operator's own key; empty: it has none."""


def read_aws(
    given: Mapping[str, Any], cluster: str, *, region: str | None, other_bastion: bool, problems: list[Problem]
) -> AwsPlan:
    """The plan that the object describes.

    Args:
        given: the object, each value in its type.
        cluster: name of the cluster.
        region: that of the provider, None when it is not known.
        other_bastion: the machines are reached through a bastion that exists.
        problems: gets every reason why it cannot be; then the plan counts for nothing.
    """
    if "zones" in given and "subnets" in given:
        rule = "The zones are in zones or, with more to say of them, in subnets"
        problems.append(Problem(f"{KEY}.zones", "a list", rule, "Remove one of the two"))
    plan = AwsPlan(
        cluster=cluster,
        slots=_slots(given),
        subnets=_subnets(given),
        vpc_range=given.get("vpcRange", DEFAULT_VPC),
        vpc_id=given.get("vpcId"),
        region=region,
        architecture=given.get("architecture"),
        operators=tuple(given.get("operators", ())),
        clients=tuple(given.get("clients", ())),
        client_groups=tuple(given.get("clientGroups", ())),
        metrics_clients=tuple(given.get("metricsClients", ())),
        open_to_the_world=given.get("openToTheWorld", False),
        public_ipv4=given.get("publicIpv4", True),
        nat_gateway=given.get("natGateway", False),
        volume=_volume(given),
        root_size=given.get("rootSize", DEFAULT_ROOT_SIZE),
        bastion=_bastion(given),
        through_another_bastion=other_bastion,
        tags=given.get("tags", {}),
    )
    # What could not be read at all is a problem already.
    known = {problem.key for problem in problems}
    for problem in check_aws(plan, spelling(KEY)):
        at = where_given(problem.key, given, KEY, _SHARED)
        if at not in known:
            known.add(at)
            problems.append(Problem(at, problem.value, problem.rule, problem.remedy))
    return plan


def _slots(given: Mapping[str, Any]) -> list[AwsSlot]:
    return [
        AwsSlot(
            name=slot.get("name", ""),
            instance_type=slot.get("instanceType", given.get("instanceType", "")),
            image=slot.get("image", given.get("image", DEFAULT_IMAGE)),
            # An image of the slot's own goes before the ID that is given for all.
            ami=slot.get("ami", None if "image" in slot else given.get("ami")),
            zone=slot.get("zone"),
            address=slot.get("address"),
            generation=slot.get("generation", 1),
            extra_names=tuple(slot.get("extraNames", ())),
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
