"""The object `aws.backupBucket` of the configuration: a bucket that is created for the snapshots."""

from collections.abc import Mapping
from typing import Any

from components.plan.aws_bucket import DEFAULT_OLD_VERSION_DAYS, AwsBucket, check_bucket
from components.plan.backup import LockPlan

from ..clouds.config import spelling
from ..reading import Reading

_KEY = "aws.backupBucket"


def read_bucket(reading: Reading, given: Mapping[str, Any], region: str | None) -> AwsBucket | None:
    """The bucket; None without one. Problems are noted in the reading.

    Args:
        given: the object `aws`.
        region: the provider's; None if it is not known.
    """
    wanted = given.get("backupBucket")
    if wanted is None:
        return None
    _refuse_others(reading, given)
    if region is None:
        rule = "Members must know the region of the bucket, which a profile alone does not tell this program"
        reading.refuse("aws:region", "nothing", rule, "Set it: pulumi config set aws:region REGION")
    lock = wanted.get("objectLock")
    bucket = AwsBucket(
        name=wanted.get("name", ""),
        days=wanted.get("days"),
        old_version_days=wanted.get("oldVersionDays", DEFAULT_OLD_VERSION_DAYS),
        object_lock=None if lock is None else LockPlan(lock.get("mode", ""), lock.get("days", 0)),
    )
    reading.add(check_bucket(bucket, spelling(_KEY)))
    return bucket


def _refuse_others(reading: Reading, given: Mapping[str, Any]) -> None:
    backup = reading.given.get("backup", {})
    for place in ("s3", "ssh", "directory"):
        if place in backup:
            rule = f"Snapshots go to exactly one place, and {_KEY} creates one"
            reading.refuse(f"backup.{place}", "a value", rule, "Remove one of the two")
    if "keep" in backup:
        rule = f"Members cannot delete in the bucket of {_KEY}: its own lifecycle does"
        reading.refuse("backup.keep", "a value", rule, f"Remove it, and set {_KEY}.days to keep snapshots for so long")
    if "instanceProfile" in given:
        rule = f"A machine has one instance profile, and {_KEY} creates it"
        remedy = (
            "Remove it, or create the bucket yourself, set backup.s3, and let your profile write, read and list there"
        )
        reading.refuse("aws.instanceProfile", "a value", rule, remedy)
