"""AwsBackupBucket: a bucket for snapshots, and an instance profile with which members write and do not delete."""

# Annotations with types of the SDK are texts. Otherwise every program on AWS would load its modules of S3 and IAM,
# which takes a second.
import json
from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from ..backup import ObjectLock, S3Store, plan_of_lock
from ..plan.aws_bucket import (
    DEFAULT_OLD_VERSION_DAYS,
    AwsBucket,
    assumed_by_machines,
    bucket_policy,
    check_bucket,
    lifecycle,
    members_policy,
)
from ..plan.errors import refuse
from .tags import tags


class AwsBackupBucketArgs(TypedDict):
    """Arguments of `AwsBackupBucket`."""

    cluster_name: str
    """Name of the cluster, for the tags."""
    bucket: str
    """Name of the bucket, unique among all buckets of AWS."""
    region: str
    """The provider's region, in which the bucket is created."""
    days: NotRequired[int]
    """After how many days a snapshot expires. Default: never."""
    old_version_days: NotRequired[int]
    """Days for which an overwritten, deleted or expired snapshot remains as an old version. Default: 30."""
    object_lock: NotRequired[ObjectLock]
    """How long nobody can delete a snapshot. A change applies to later snapshots. Default: none."""
    protect: NotRequired[bool]
    """Whether Pulumi refuses to remove the bucket from the stack. Default: true."""
    tags: NotRequired[dict[str, str]]
    """More tags. Default: none."""


class AwsBackupBucket(pulumi.ComponentResource):
    """A bucket with versions, and a role and instance profile for the machines of the members.

    Members can write, read and list, but not delete: what they overwrite stays as an old version. So `keep` of `backup`
    is not possible, and the lifecycle deletes. Pulumi never deletes the bucket: `protect` refuses, and without it, the
    bucket leaves the state and stays at AWS with its content and settings.

    Children: `<name>` (Bucket, BucketVersioning, BucketPublicAccessBlock, BucketServerSideEncryptionConfiguration,
    BucketLifecycleConfiguration, BucketPolicy, with `object_lock` BucketObjectLockConfiguration, and Role, RolePolicy,
    InstanceProfile).

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy.
    """

    store: S3Store
    """`s3` of `backup` of `EtcdCluster`."""
    instance_profile: pulumi.Output[str]
    """`instance_profile` of `AwsMachines`. Resolves when the machines can use the bucket, and it has all settings."""

    def __init__(self, name: str, args: AwsBackupBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        plan = _plan(args)
        refuse(check_bucket(plan))
        super().__init__("external-etcd:index:AwsBackupBucket", name, None, opts)
        self._name = name
        self._tags = tags(args["cluster_name"], args.get("tags", {}), plan.name, role="backup")
        bucket = aws.s3.Bucket(
            name,
            bucket=plan.name,
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self, protect=bool(args.get("protect", True)), retain_on_delete=True),
        )
        role, allowed = self._role(bucket)
        # Machines get it last: what they stored before would have no versions, no lock, and could be overwritten.
        ready = pulumi.ResourceOptions(parent=self, depends_on=[self._settings(plan, bucket, role)])
        profile = aws.iam.InstanceProfile(name, role=role.name, tags=self._tags, opts=ready)
        self.store = {"bucket": plan.name, "region": args["region"]}
        self.instance_profile = pulumi.Output.all(profile.name, bucket.id, allowed.id).apply(lambda all_: str(all_[0]))
        self.register_outputs({"instance_profile": self.instance_profile})

    def _role(self, bucket: "aws.s3.Bucket") -> "tuple[aws.iam.Role, aws.iam.RolePolicy]":
        """The members' role, and its permissions."""
        child = pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            self._name,
            description="Members of an etcd cluster store snapshots",
            assume_role_policy=json.dumps(assumed_by_machines()),
            tags=self._tags,
            opts=child,
        )
        allowed = aws.iam.RolePolicy(
            self._name, role=role.name, policy=bucket.arn.apply(lambda arn: json.dumps(members_policy(arn))), opts=child
        )
        return role, allowed

    def _settings(self, plan: AwsBucket, bucket: "aws.s3.Bucket", role: "aws.iam.Role") -> pulumi.Resource:
        """One after the other: S3 refuses changes of one bucket at the same time. Returns the last one."""
        last: pulumi.Resource = bucket

        def next_(*, retain: bool = True) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, depends_on=[last], retain_on_delete=retain)

        last = aws.s3.BucketPublicAccessBlock(
            self._name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=next_(),
        )
        last = aws.s3.BucketVersioning(
            self._name,
            bucket=bucket.id,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=next_(),
        )
        by_default = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="AES256"
        )
        last = aws.s3.BucketServerSideEncryptionConfiguration(
            self._name,
            bucket=bucket.id,
            rules=[
                aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=by_default
                )
            ],
            opts=next_(),
        )
        everything = aws.s3.BucketLifecycleConfigurationRuleFilterArgs()
        last = aws.s3.BucketLifecycleConfiguration(
            self._name,
            bucket=bucket.id,
            rules=[
                aws.s3.BucketLifecycleConfigurationRuleArgs(status="Enabled", filter=everything, **rule)
                for rule in lifecycle(plan)
            ],
            opts=next_(),
        )
        last = aws.s3.BucketPolicy(
            self._name,
            bucket=bucket.id,
            policy=pulumi.Output.all(bucket.arn, role.arn).apply(lambda arns: json.dumps(bucket_policy(*arns))),
            opts=next_(),
        )
        if plan.object_lock is not None:
            # Not as a property of the bucket, which would have to be created with it.
            last = aws.s3.BucketObjectLockConfiguration(
                self._name,
                bucket=bucket.id,
                rule=aws.s3.BucketObjectLockConfigurationRuleArgs(
                    default_retention=aws.s3.BucketObjectLockConfigurationRuleDefaultRetentionArgs(
                        mode=plan.object_lock.mode, days=plan.object_lock.days
                    )
                ),
                # Removed, it ends for new snapshots; those that are locked stay so.
                opts=next_(retain=False),
            )
        return last


def _plan(args: AwsBackupBucketArgs) -> AwsBucket:
    # Other languages pass numbers as floats.
    return AwsBucket(
        name=args["bucket"],
        days=int(args["days"]) if "days" in args else None,
        old_version_days=int(args.get("old_version_days", DEFAULT_OLD_VERSION_DAYS)),
        object_lock=plan_of_lock(args.get("object_lock")),
    )
