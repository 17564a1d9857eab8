"""The volumes with etcd's data, and the bucket with its snapshots."""

from collections.abc import Mapping
from typing import Any

from pulumi_policy import ResourceValidationArgs

from .rule import Findings, Settings, made_by, resource_policy

_BUCKET = "AwsBackupBucket"
_INSTANCE = "aws:ec2/instance:Instance"
_AWS_VOLUME, _HETZNER_VOLUME = "aws:ebs/volume:Volume", "hcloud:index/volume:Volume"


def _encrypted(disk: Mapping[str, Any] | None, what: str, findings: Findings) -> None:
    with findings.if_known():
        # The default of the account is not visible here.
        if (disk or {}).get("encrypted") is not True:
            findings.violated(f"{what} is not encrypted. Set `encrypted` to true.")


def _volume_encrypted(args: ResourceValidationArgs, _: Settings, findings: Findings) -> None:
    _encrypted(args.props, f"The volume {args.name}", findings)


def _disks_encrypted(args: ResourceValidationArgs, _: Settings, findings: Findings) -> None:
    with findings.if_known():
        _encrypted(args.props.get("rootBlockDevice"), f"The root volume of {args.name} (`rootBlockDevice`)", findings)
    for disk in findings.known(args.props.get("ebsBlockDevices")):
        _encrypted(disk, f"A volume of {args.name} (`ebsBlockDevices`)", findings)


def _protected(args: ResourceValidationArgs, _: Settings, findings: Findings) -> None:
    if args.opts.protect:
        return
    what = "volume" if args.resource_type != "aws:s3/bucket:Bucket" else "bucket"
    remedy = f"Set `protect` of the component's {what}, or the resource option `protect`."
    if args.resource_type == _HETZNER_VOLUME:
        if args.props.get("deleteProtection") is True:
            return
        remedy += " The input `delete_protection` is enough as well."
    findings.violated(f"Pulumi may delete the {what} {args.name} with all its data. {remedy}")


def _bucket_protected(args: ResourceValidationArgs, settings: Settings, findings: Findings) -> None:
    # Other buckets of the program have nothing to do with etcd.
    if made_by(args.urn, _BUCKET):
        _protected(args, settings, findings)


ENCRYPTION = resource_policy(
    "volumes-encrypted",
    "Volumes on AWS are encrypted.",
    {_AWS_VOLUME: _volume_encrypted, _INSTANCE: _disks_encrypted},
    {},
)
PROTECTION = resource_policy(
    "data-protected",
    "Volumes, and the bucket with the snapshots, are protected from deletion.",
    {_AWS_VOLUME: _protected, _HETZNER_VOLUME: _protected, "aws:s3/bucket:Bucket": _bucket_protected},
    {},
)
