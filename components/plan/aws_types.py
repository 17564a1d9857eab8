"""The rules for EC2 instance types, images and EBS volume types that can be checked offline.

Sources: docs.aws.amazon.com/ec2 (naming of instance types, instances built on Nitro) and docs.aws.amazon.com/ebs
(limits of each volume type).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .cloud import ARCHITECTURES
from .errors import Problem, did_you_mean, shown

DEFAULT_IMAGE = "debian-12"
# Families before Nitro: their guests cannot see which disk is which volume.
_BEFORE_NITRO = re.compile(r"c[134]|m[1-4]|d2|f1|g2|g3s?|h1|i[23]|p[23]|r[34]|t[12]|x1e?")
_TYPE = re.compile(r"([a-z][a-z0-9-]*)\.([a-z0-9-]+)", re.ASCII)


@dataclass(frozen=True)
class Image:
    """How to find the newest image of a distribution."""

    owner: str
    """Account (or AWS's alias) that must own the image."""
    names: Mapping[str, str]
    """Architecture -> pattern of the image's name."""


IMAGES: Mapping[str, Image] = {
    "debian-12": Image("136693071363", {each: f"debian-12-{each}-*" for each in ARCHITECTURES}),
    "ubuntu-24.04": Image(
        "099720109477",
        {each: f"ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{each}-server-*" for each in ARCHITECTURES},
    ),
    "al2023": Image("amazon", {"amd64": "al2023-ami-2023.*-x86_64", "arm64": "al2023-ami-2023.*-arm64"}),
}
"""Name in the configuration -> how to find it."""


@dataclass(frozen=True)
class VolumeRules:
    """Limits of one EBS volume type."""

    size: tuple[int, int]
    """GiB."""
    iops: tuple[int, int] | None = None
    """Allowed values; None: cannot be set."""
    iops_per_gib: int = 0
    throughput: tuple[int, int] | None = None
    """Allowed values in MiB/s; None: cannot be set."""
    needs_iops: bool = False


VOLUME_TYPES: Mapping[str, VolumeRules] = {
    "gp3": VolumeRules((1, 65536), (3000, 80000), 500, (125, 2000)),
    "gp2": VolumeRules((1, 16384)),
    "io2": VolumeRules((4, 65536), (100, 256000), 1000, needs_iops=True),
    "io1": VolumeRules((4, 16384), (100, 64000), 50, needs_iops=True),
}
"""The types on solid state disks; others are too slow for etcd."""
_GP3_IOPS = 3000
_IOPS_PER_MIB = 4


@dataclass(frozen=True)
class AwsVolume:
    """A data volume."""

    size: int
    """GiB."""
    type: str = "gp3"
    iops: int | None = None
    """None: the type's default."""
    throughput: int | None = None
    """MiB/s; None: the type's default."""


def architecture_of(instance_type: str) -> str | None:
    """The architecture of an instance type, from its name; None when it is not a valid name.

    `a1` and families with a `g` (Graviton) after the generation are arm64.
    """
    match = _TYPE.fullmatch(instance_type)
    if match is None:
        return None
    family = match[1]
    after = re.fullmatch(r"[a-z]+\d+([a-z][a-z0-9-]*)?", family)
    arm = family == "a1" or (after is not None and "g" in (after[1] or ""))
    return "arm64" if arm else "amd64"


def check_type(instance_type: str, architecture: str | None, image: str, key: str, *, volume: bool) -> list[Problem]:
    """Why a machine cannot have this type; empty when it can.

    Args:
        architecture: the image's architecture; None: not known.
        image: the image, for the message.
        key: the key of the type.
        volume: whether the machine has a data volume.
    """
    own = architecture_of(instance_type)
    if own is None:
        rule = "An instance type must be a family, a dot and a size"
        return [Problem(key, shown(instance_type), rule, "Write it like t3.medium or m7g.large")]
    problems = []
    if architecture is not None and own != architecture:
        rule = f"Image and machine must have the same architecture: {instance_type} is {own}, {image} is {architecture}"
        like = "m7g.large" if architecture == "arm64" else "m7i.large"
        remedy = f"Choose an image for {own}, or an instance type for {architecture}, like {like}"
        problems.append(Problem(key, shown(instance_type), rule, remedy))
    family = instance_type.partition(".")[0]
    if volume and _BEFORE_NITRO.fullmatch(family) and not instance_type.endswith(".metal"):
        rule = f"A machine must see the ID of its data volume, which families before Nitro ({family}) do not show"
        problems.append(Problem(key, shown(instance_type), rule, "Choose a newer family, like t3 or m7i"))
    return problems


def check_image(image: str, key: str) -> list[Problem]:
    """Why this is not the name of an image; empty when it is."""
    if image in IMAGES:
        return []
    names = ", ".join(IMAGES)
    remedy = did_you_mean(image, IMAGES) or "Choose one of them, or set ami to the ID of another image"
    return [Problem(key, shown(image), f"The name of an image must be one of {names}", remedy)]


def check_ami(ami: str, key: str) -> list[Problem]:
    """Why this is not an ID of an image; empty when it is one."""
    return check_id(ami, "ami", key)


def check_id(text: object, prefix: str, key: str) -> list[Problem]:
    """Why this is not an ID with that prefix; empty when it is one, or is not known yet."""
    if not isinstance(text, str) or re.fullmatch(rf"{prefix}-[0-9a-f]{{8}}(?:[0-9a-f]{{9}})?", text, re.ASCII):
        return []
    rule = f"This ID must be {prefix}- and 8 or 17 digits of 0-9 and a-f"
    return [Problem(key, shown(text), rule, "Copy it from the console")]


def check_volume(volume: AwsVolume, spelled: Callable[[str], str]) -> list[Problem]:
    """Why AWS has no such volume; empty when it has.

    Args:
        spelled: the user's spelling of `volume.size` and the like.
    """
    rules = VOLUME_TYPES.get(volume.type)
    if rules is None:
        names = ", ".join(VOLUME_TYPES)
        remedy = did_you_mean(volume.type, VOLUME_TYPES) or "Remove it for gp3"
        return [
            Problem(spelled("volume.type"), shown(volume.type), f"The type of a volume must be one of {names}", remedy)
        ]
    problems = _within(volume.size, rules.size, "GiB", f"A volume of {volume.type} must have", spelled("volume.size"))
    key = spelled("volume.iops")
    if volume.iops is None:
        if rules.needs_iops:
            rule = f"A volume of {volume.type} must have its IOPS set"
            problems.append(Problem(key, "nothing", rule, "Set it, or choose gp3"))
    elif rules.iops is None:
        rule = f"The IOPS of {volume.type} follow from its size and cannot be set"
        problems.append(Problem(key, shown(volume.iops), rule, "Remove it, or choose gp3"))
    else:
        problems += _within(volume.iops, rules.iops, "IOPS", f"A volume of {volume.type} must have", key)
        most = max(volume.size * rules.iops_per_gib, _GP3_IOPS if volume.type == "gp3" else 0)
        if not problems and volume.iops > most:
            rule = (
                f"A {volume.type} volume can have at most {rules.iops_per_gib} IOPS per GiB: {most} for {volume.size}"
            )
            problems.append(Problem(key, shown(volume.iops), rule, f"Set it to {most} or less, or increase the size"))
    return problems + _check_throughput(volume, rules, spelled("volume.throughput"))


def _check_throughput(volume: AwsVolume, rules: VolumeRules, key: str) -> list[Problem]:
    if volume.throughput is None:
        return []
    if rules.throughput is None:
        rule = f"The throughput of {volume.type} cannot be set"
        return [Problem(key, shown(volume.throughput), rule, "Remove it, or choose gp3")]
    problems = _within(volume.throughput, rules.throughput, "MiB/s", f"A volume of {volume.type} must have", key)
    most = (volume.iops or _GP3_IOPS) // _IOPS_PER_MIB
    if not problems and volume.throughput > most:
        rule = f"Each MiB/s needs {_IOPS_PER_MIB} IOPS: {volume.iops or _GP3_IOPS} IOPS are enough for {most} MiB/s"
        remedy = f"Set it to {most} or less, or iops to {volume.throughput * _IOPS_PER_MIB} or more"
        problems.append(Problem(key, shown(volume.throughput), rule, remedy))
    return problems


def _within(value: int, limits: tuple[int, int], unit: str, subject: str, key: str) -> list[Problem]:
    low, high = limits
    if low <= value <= high:
        return []
    return [Problem(key, shown(value), f"{subject} {low} to {high} {unit}", f"Set {low}, or more as needed")]
