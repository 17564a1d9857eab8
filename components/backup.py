"""The arguments of snapshots that are kept elsewhere."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

import pulumi

from .plan.backup import DEFAULT_DRILL, DEFAULT_SCHEDULE, BackupPlan, S3Plan


class S3Store(TypedDict):
    """An S3-compatible store."""

    bucket: str
    """Name of the bucket. It must exist."""
    endpoint: NotRequired[str]
    """URL of the store, `https://host:port`. Default: AWS."""
    prefix: NotRequired[str]
    """Folder in the bucket, without `/` at its ends. Clusters of the same name must have different ones. Default:
    none."""
    region: NotRequired[str]
    """Region of the bucket. Default: none; required without `endpoint`."""
    access_key_id: NotRequired[pulumi.Input[str]]
    """ID of an access key that can write, read and list there, and delete if `keep` is set (secret). Default: the
    profile of the instance."""
    secret_access_key: NotRequired[pulumi.Input[str]]
    """The access key itself (secret). Default: the profile of the instance."""


class Keep(TypedDict):
    """Which snapshots are kept: the last one of each of so many hours, days and weeks that have one."""

    hourly: NotRequired[int]
    """Number of hours. Default: 0."""
    daily: NotRequired[int]
    """Number of days. Default: 0."""
    weekly: NotRequired[int]
    """Number of weeks. Default: 0."""


class Backup(TypedDict):
    """Snapshots on a schedule, encrypted and kept elsewhere: in `s3`, or in `directory`."""

    recipients: list[str]
    """Public keys of age (`age1...`). Only their private keys can read the snapshots, and no machine has one."""
    schedule: NotRequired[str]
    """When a snapshot is taken: a calendar event of systemd (`OnCalendar=`). Default: `hourly`."""
    drill: NotRequired[str]
    """When the last snapshot is restored beside the member, to prove that it can be: a calendar event of systemd, or
    `never`. Default: at 03:40 every day."""
    s3: NotRequired[S3Store]
    """An S3-compatible store. Either this or `directory`."""
    directory: NotRequired[str]
    """Directory on every machine, absolute: a mounted share. It must not be on the file system of the data."""
    keep: NotRequired[Keep]
    """Which snapshots are kept; the others are deleted. Default: machines delete nothing."""
    sha256: NotRequired[dict[str, str]]
    """Name of an archive of age or rclone -> its SHA-256. Default: this program's for age, the release's SHA256SUMS for
    rclone, and the mirror's for both with a `release_mirror`."""


def plan_of_backup(backup: Backup | None) -> BackupPlan | None:
    """The plan, which has no credentials."""
    if backup is None:
        return None
    s3 = backup.get("s3")
    keep = backup.get("keep")
    return BackupPlan(
        recipients=backup.get("recipients", ()),
        schedule=backup.get("schedule", DEFAULT_SCHEDULE),
        s3=None
        if s3 is None
        else S3Plan(
            bucket=s3.get("bucket", ""),
            endpoint=s3.get("endpoint", "").rstrip("/"),
            prefix=s3.get("prefix", ""),
            region=s3.get("region", ""),
            access_key_id="access_key_id" in s3,
            secret_access_key="secret_access_key" in s3,
        ),
        directory=backup.get("directory"),
        # Other languages pass numbers as floats.
        keep=None
        if keep is None
        else {key: int(value) if isinstance(value, float) else value for key, value in keep.items()},  # type: ignore[misc]
        sha256=backup.get("sha256", {}),
        drill=backup.get("drill", DEFAULT_DRILL),
    )


def credentials(backup: Backup | None) -> Mapping[str, pulumi.Input[str]]:
    """The store's, in rclone's names; empty without any."""
    s3 = None if backup is None else backup.get("s3")
    found: dict[str, pulumi.Input[str]] = {}
    if s3 is not None and "access_key_id" in s3:
        found["access_key_id"] = s3["access_key_id"]
    if s3 is not None and "secret_access_key" in s3:
        found["secret_access_key"] = s3["secret_access_key"]
    return found
