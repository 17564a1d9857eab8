"""The bucket of snapshots on AWS: what can be configured, its rules, and what members may do in it.

Sources: docs.aws.amazon.com/AmazonS3 (names of buckets, lifecycle, object lock, policies).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .backup import LockPlan, check_days, check_lock
from .errors import Problem, shown

DEFAULT_OLD_VERSION_DAYS = 30
_UNFINISHED_DAYS = 2
_OBJECTS = ("s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_BUCKET = ("s3:ListBucket", "s3:ListBucketMultipartUploads")
_VERSION = "2012-10-17"


@dataclass(frozen=True)
class AwsBucket:
    """A bucket for the snapshots of one cluster."""

    name: str
    """Unique among all buckets of AWS."""
    days: int | None = None
    """After how many days a snapshot expires; None: never."""
    old_version_days: int = DEFAULT_OLD_VERSION_DAYS
    """Days for which an overwritten, deleted or expired snapshot remains as an old version."""
    object_lock: LockPlan | None = None


def check_bucket(bucket: AwsBucket, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Why AWS has no such bucket; empty when it can have one.

    Args:
        spelled: the user's spelling of an argument.
    """
    problems = []
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket.name, re.ASCII):
        rule = "The name must have 3 to 63 of a-z, 0-9 and -; dots do not fit the certificate of Amazon S3"
        problems.append(Problem(spelled("name"), shown(bucket.name), rule, "Write it like example-org-etcd-prod"))
    if bucket.days is not None:
        problems += check_days(bucket.days, spelled("days"))
    problems += check_days(bucket.old_version_days, spelled("old_version_days"))
    return problems + ([] if bucket.object_lock is None else check_lock(bucket.object_lock, spelled("object_lock")))


def lifecycle(bucket: AwsBucket) -> list[dict[str, Any]]:
    """The lifecycle's rules for all objects: name and properties, as pulumi-aws spells them."""
    rules: list[dict[str, Any]] = [
        {
            "id": "unfinished-uploads",
            "abort_incomplete_multipart_upload": {"days_after_initiation": _UNFINISHED_DAYS},
        },
        {
            "id": "old-versions",
            "noncurrent_version_expiration": {"noncurrent_days": bucket.old_version_days},
            # S3 refuses it in a rule with days.
            "expiration": {"expired_object_delete_marker": True},
        },
    ]
    return rules if bucket.days is None else [*rules, {"id": "snapshots", "expiration": {"days": bucket.days}}]


def members_policy(arn: str) -> dict[str, Any]:
    """What the members' role allows: to write, read and list in the bucket `arn`, and nothing else."""
    return {
        "Version": _VERSION,
        "Statement": [
            {"Effect": "Allow", "Action": [*_OBJECTS], "Resource": f"{arn}/*"},
            {"Effect": "Allow", "Action": [*_BUCKET], "Resource": arn},
        ],
    }


def bucket_policy(arn: str, members: str) -> dict[str, Any]:
    """What the bucket `arn` refuses: everything without TLS, and everything else to the members.

    A refusal here counts more than what other policies allow.

    Args:
        members: ARN of the members' role.
    """
    everything = [arn, f"{arn}/*"]
    return {
        "Version": _VERSION,
        "Statement": [
            {
                "Sid": "OnlyTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": everything,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            {
                "Sid": "MembersDeleteNothing",
                "Effect": "Deny",
                "Principal": {"AWS": members},
                "NotAction": [*_OBJECTS, *_BUCKET],
                "Resource": everything,
            },
        ],
    }


def assumed_by_machines() -> dict[str, Any]:
    """Who can have the role: machines with its instance profile."""
    allowed = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {"Version": _VERSION, "Statement": [allowed]}
