"""AwsBackupBucket: a bucket that outlives its cluster, and members that write there and do not delete."""

import json
from typing import Any

import pytest

from components.aws import AwsBackupBucket
from components.plan import PlanError
from stacks import config
from tests.support.configurations import changed, load
from tests.support.recording import SECRET_KEY, Recorder, record
from tests.unit.test_config_backup import documented

from .test_cloud_registrations import CARD, INSTANCE, built

NAME = "example-org-etcd"
BUCKET = {"name": NAME, "days": 90, "objectLock": {"mode": "COMPLIANCE", "days": 30}}
RECIPIENTS = {"recipients": documented()["recipients"]}
KINDS = (
    "Bucket",
    "BucketLifecycleConfiguration",
    "BucketObjectLockConfiguration",
    "BucketPolicy",
    "BucketPublicAccessBlock",
    "BucketServerSideEncryptionConfiguration",
    "BucketVersioning",
)


def stack(**changes: Any) -> config.StackConfig:
    """The example on AWS with a bucket, and these changes; None removes a key."""
    backup, region = changes.pop("backup", RECIPIENTS), changes.pop("region", "eu-central-1")
    return load(changed("aws", {"backupBucket": BUCKET, **changes}, backup=backup), stack="aws", region=region)


def registered(preview: bool = False, **changes: Any) -> Recorder:
    loaded = stack(**changes)
    return record(lambda: built(loaded), preview)


def s3(recorder: Recorder, kind: str) -> Any:
    [found] = [each for each in recorder.registrations if each.type.endswith(f":{kind}")]
    return found


def test_the_bucket_keeps_versions_refuses_the_public_and_outlives_the_stack() -> None:
    recorder = registered()
    for kind in KINDS:
        found = s3(recorder, kind)
        assert (found.name, found.parent, found.inputs["bucket"]) == ("aws-backup", "aws-backup", NAME)
        assert found.request.retainOnDelete == (kind != "BucketObjectLockConfiguration"), kind
        assert found.request.protect == (kind == "Bucket")
    assert s3(recorder, "BucketVersioning").inputs["versioningConfiguration"] == {"status": "Enabled"}
    block = s3(recorder, "BucketPublicAccessBlock").inputs
    assert [value for name, value in block.items() if name != "bucket"] == [True] * 4
    [encrypted] = s3(recorder, "BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert encrypted == {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}
    rules = s3(recorder, "BucketLifecycleConfiguration").inputs["rules"]
    assert all(rule.pop("status") == "Enabled" and rule.pop("filter") == {} for rule in rules)
    assert {rule.pop("id"): rule for rule in rules} == {
        "unfinished-uploads": {"abortIncompleteMultipartUpload": {"daysAfterInitiation": 2}},
        "old-versions": {
            "noncurrentVersionExpiration": {"noncurrentDays": 30},
            "expiration": {"expiredObjectDeleteMarker": True},
        },
        "snapshots": {"expiration": {"days": 90}},
    }
    lock = s3(recorder, "BucketObjectLockConfiguration").inputs["rule"]["defaultRetention"]
    assert lock == {"mode": "COMPLIANCE", "days": 30}
    assert "objectLockEnabled" not in s3(recorder, "Bucket").inputs, "it could not be added later"


def test_members_write_read_and_list_and_the_bucket_refuses_everything_else() -> None:
    recorder = registered()
    objects = {"s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}
    listing = {"s3:ListBucket", "s3:ListBucketMultipartUploads"}
    allowed = json.loads(s3(recorder, "RolePolicy").inputs["policy"])["Statement"]
    assert [(each["Effect"], {*each["Action"]}, each["Resource"]) for each in allowed] == [
        ("Allow", objects, f"arn:bucket:{NAME}/*"),
        ("Allow", listing, f"arn:bucket:{NAME}"),
    ]
    tls, members = json.loads(s3(recorder, "BucketPolicy").inputs["policy"])["Statement"]
    assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "s3:*")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert (members["Effect"], members["Principal"]) == ("Deny", {"AWS": "arn:role:aws-backup"})
    assert {*members["NotAction"]} == objects | listing
    for statement in (tls, members):
        assert statement["Resource"] == [f"arn:bucket:{NAME}", f"arn:bucket:{NAME}/*"]
    trust = json.loads(s3(recorder, "Role").inputs["assumeRolePolicy"])["Statement"]
    assert [each["Principal"] for each in trust] == [{"Service": "ec2.amazonaws.com"}]


def test_every_member_has_the_profile_and_no_access_key() -> None:
    recorder = registered()
    machines = recorder.of_type(INSTANCE)
    assert [each.inputs["iamInstanceProfile"] for each in machines] == ["aws-backup"] * 3
    assert all({"aws-backup"} <= each.depends_on for each in machines), "the bucket is there first"
    assert all(each.inputs["metadataOptions"]["httpTokens"] == "required" for each in machines)
    for each in recorder.registrations:
        assert '"store"' not in str(each.inputs.get("stdin", "")), each.name
    converge = recorder.named("aws-etcd-1-converge").inputs["create"]
    assert f'"bucket": "{NAME}"' in converge and '"region": "eu-central-1"' in converge
    assert SECRET_KEY not in str(recorder.named("aws-change").inputs), "there is no secret in it"


@pytest.mark.parametrize("lock", [BUCKET["objectLock"], None])
def test_machines_get_the_profile_when_the_bucket_has_all_its_settings(lock: Any) -> None:
    """What they stored before would have no versions and no lock."""
    recorder = registered(backupBucket={"name": NAME, **({"objectLock": lock} if lock else {})})
    wanted = {urn.split("::")[2].rpartition(":")[2] for urn in s3(recorder, "InstanceProfile").request.dependencies}
    assert ("BucketObjectLockConfiguration" if lock else "BucketPolicy") in wanted
    settings = [
        each for each in recorder.registrations if each.type.startswith("aws:s3/") and each.name == "aws-backup"
    ]
    waited = {urn.split("::")[2].rpartition(":")[2] for each in settings for urn in each.request.dependencies} | wanted
    assert waited >= {kind for kind in KINDS if lock or kind != "BucketObjectLockConfiguration"}


def test_everything_says_whose_it_is() -> None:
    recorder = registered()
    for kind in ("Bucket", "Role", "InstanceProfile"):
        said = s3(recorder, kind).inputs["tags"]
        assert (said["etcd"], said["cluster"], said["Name"], said["environment"]) == ("true", "aws", NAME, "test")


def test_a_preview_knows_everything_of_the_bucket_that_aws_does_not_choose() -> None:
    recorder = registered(preview=True)
    assert len([each for each in recorder.registrations if each.type.startswith(("aws:s3/", "aws:iam/"))]) == 10
    assert s3(recorder, "Bucket").inputs["bucket"] == NAME
    assert len(recorder.of_type(CARD)) == 3


def test_without_snapshots_the_bucket_can_stay() -> None:
    recorder = registered(backup=None)
    assert s3(recorder, "Bucket").inputs["bucket"] == NAME
    assert '"backup"' not in recorder.named("aws-etcd-1-converge").inputs["create"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"backup": {**RECIPIENTS, "keep": {"hourly": 24}}},
            "backup.keep: given a value. Members cannot delete in the bucket of aws.backupBucket: its own lifecycle "
            "does. Remove it, and set aws.backupBucket.days to keep snapshots for so long",
        ),
        ({"backup": {**RECIPIENTS, "directory": "/mnt/x"}}, "backup.directory: given a value. Snapshots go to exactly"),
        ({"backup": {**RECIPIENTS, "s3": {"bucket": "x-y-z"}}}, "backup.s3: given a value. Snapshots go to exactly"),
        ({"region": ""}, "aws:region: given nothing. Members must know the region of the bucket"),
        ({"instanceProfile": "own"}, "aws.instanceProfile: given a value. A machine has one instance profile"),
        ({"backupBucket": {"name": "Etcd.x"}}, "aws.backupBucket.name: given 'Etcd.x'"),
        ({"backupBucket": {**BUCKET, "days": 0}}, "aws.backupBucket.days: given 0"),
        ({"backupBucket": {**BUCKET, "oldVersionDays": 0}}, "aws.backupBucket.oldVersionDays: given 0"),
        (
            {"backupBucket": {"name": NAME, "objectLock": {"mode": "no", "days": 1}}},
            "aws.backupBucket.objectLock.mode: given 'no'",
        ),
    ],
)
def test_what_does_not_fit_the_bucket_is_refused_with_a_remedy(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        stack(**changes)
    assert says in str(caught.value)


def test_the_component_alone_gives_a_program_what_cluster_and_machines_need() -> None:
    made: list[AwsBackupBucket] = []

    args: Any = {
        "cluster_name": "prod",
        "bucket": NAME,
        "region": "eu-west-1",
        "days": 9.0,
    }  # as other languages pass it

    def program() -> None:
        made.append(AwsBackupBucket("own", args))

    recorder = record(program, False)
    assert made[0].store == {"bucket": NAME, "region": "eu-west-1"}
    assert s3(recorder, "BucketLifecycleConfiguration").inputs["rules"][-1]["expiration"] == {"days": 9}
    with pytest.raises(PlanError, match=r"bucket|name: given 'x'"):
        record(lambda: AwsBackupBucket("own", {"cluster_name": "prod", "bucket": "x", "region": "eu-west-1"}), False)
