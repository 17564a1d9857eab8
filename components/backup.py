"""The arguments of snapshots that are kept elsewhere."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi

from .plan.backup import DEFAULT_DRILL, DEFAULT_SCHEDULE, BackupPlan, LockPlan, S3Plan, SshPlan


class ObjectLock(TypedDict):
    """How long nobody can delete a snapshot."""

    mode: str
    """`GOVERNANCE` (some accounts can still delete) or `COMPLIANCE` (nobody can)."""
    days: int
    """Number of days, from the upload on."""


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
    object_lock: NotRequired[ObjectLock]
    """Retention that machines set on each snapshot, in a bucket with object lock. Default: the bucket's own."""


class SshStore(TypedDict):
    """A directory on another machine, by sftp."""

    host: str
    """Its name or address; an IPv6 address in brackets."""
    user: str
    """The login there."""
    directory: str
    """The directory, absolute. It must exist, and the login must be allowed to write, read and list there, and to
    delete if `keep` is set."""
    host_key: str
    """Its public host key, one line: `ssh-ed25519 AAAA...`. Any other is refused."""
    port: NotRequired[int]
    """Port of its sshd. Default: 22."""
    private_key: pulumi.Input[str]
    """Private key of the login, without a passphrase (secret)."""


class Keep(TypedDict):
    """Which snapshots are kept: the last one of each of so many hours, days and weeks that have one."""

    hourly: NotRequired[int]
    """Number of hours. Default: 0."""
    daily: NotRequired[int]
    """Number of days. Default: 0."""
    weekly: NotRequired[int]
    """Number of weeks. Default: 0."""


class Backup(TypedDict):
    """Snapshots on a schedule, encrypted and kept elsewhere: in `s3`, `ssh` or `directory`."""

    recipients: list[str]
    """Public keys of age (`age1...`). Only their private keys can read the snapshots, and no machine has one."""
    schedule: NotRequired[str]
    """When a snapshot is taken: a calendar event of systemd (`OnCalendar=`). Default: `hourly`."""
    drill: NotRequired[str]
    """When the last snapshot is restored beside the member, to prove that it can be: a calendar event of systemd, or
    `never`. Default: at 03:40 every day."""
    s3: NotRequired[S3Store]
    """An S3-compatible store. Exactly one of the three places must be given."""
    ssh: NotRequired[SshStore]
    """A directory on another machine."""
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
    s3, ssh = backup.get("s3"), backup.get("ssh")
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
            object_lock=plan_of_lock(s3.get("object_lock")),
        ),
        ssh=None
        if ssh is None
        else SshPlan(
            host=ssh.get("host", ""),
            user=ssh.get("user", ""),
            directory=ssh.get("directory", ""),
            host_key=ssh.get("host_key", ""),
            port=_whole(ssh.get("port", 22)),
            private_key=bool(ssh.get("private_key")),
        ),
        directory=backup.get("directory"),
        keep=None if keep is None else {key: _whole(value) for key, value in keep.items()},
        sha256=backup.get("sha256", {}),
        drill=backup.get("drill", DEFAULT_DRILL),
    )


def plan_of_lock(lock: ObjectLock | None) -> LockPlan | None:
    """The plan of an object lock; None without one."""
    return None if lock is None else LockPlan(lock.get("mode", ""), _whole(lock.get("days", 0)))


def _whole(value: Any) -> Any:
    """Other languages pass numbers as floats."""
    return int(value) if isinstance(value, float) else value


def credentials(backup: Backup | None) -> Mapping[str, pulumi.Input[str]]:
    """The store's, in rclone's names; empty without any."""
    s3 = None if backup is None else backup.get("s3")
    found: dict[str, pulumi.Input[str]] = {}
    if s3 is not None and "access_key_id" in s3:
        found["access_key_id"] = s3["access_key_id"]
    if s3 is not None and "secret_access_key" in s3:
        found["secret_access_key"] = s3["secret_access_key"]
    if backup is not None and "ssh" in backup:
        found["key_pem"] = backup["ssh"]["private_key"]
    return found
