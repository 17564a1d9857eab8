"""The aws stand-in: a bucket with its settings, and the role and instance profile of machines that use it."""

from __future__ import annotations

import json
from typing import Any

from components.plan.aws_bucket import AwsBucket, assumed_by_machines, bucket_policy, lifecycle, members_policy
from tests.support.aws_client import AwsClient, client, endpoint, plugin
from tests.support.plugin_client import lives

__all__ = ["endpoint", "plugin"]

TAGS = {"Name": "one"}
ARN = "arn:aws:s3:::snapshots"
RULES = [
    {"id": "old", "status": "Enabled", "filter": {}, "noncurrentVersionExpiration": {"noncurrentDays": 30}},
    {"id": "uploads", "status": "Enabled", "filter": {}, "abortIncompleteMultipartUpload": {"daysAfterInitiation": 2}},
]
BY_DEFAULT = {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}
SETTINGS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "BucketPublicAccessBlock",
        dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True),
        {"blockPublicPolicy": False},
    ),
    ("BucketServerSideEncryptionConfiguration", {"rules": [BY_DEFAULT]}, {}),
    ("BucketLifecycleConfiguration", {"rules": RULES}, {"rules": RULES[:1]}),
    (
        "BucketPolicy",
        {"policy": json.dumps(bucket_policy(ARN, "arn:aws:iam::123456789012:role/one"))},
        {"policy": json.dumps(bucket_policy(ARN, "arn:aws:iam::123456789012:role/two"))},
    ),
    (
        "BucketObjectLockConfiguration",
        {"rule": {"defaultRetention": {"mode": "GOVERNANCE", "days": 30}}},
        {"rule": {"defaultRetention": {"mode": "COMPLIANCE", "days": 60}}},
    ),
]


def of(plugin: AwsClient, kind: str) -> AwsClient:
    return plugin.of(f"s3/{kind[:1].lower()}{kind[1:]}:{kind}")


def test_a_bucket_and_every_setting_of_it(plugin: AwsClient, endpoint: str) -> None:
    lives(of(plugin, "Bucket"), {"bucket": "other", "tags": TAGS}, tags={"Name": "two"})
    bucket, state = of(plugin, "Bucket").create({"bucket": "snapshots"})
    assert state["arn"] == ARN
    versioning, versions = of(plugin, "BucketVersioning"), {"versioningConfiguration": {"status": "Enabled"}}
    lives(versioning, {"bucket": bucket, **versions})
    versioning.create({"bucket": bucket, **versions})
    for kind, given, changed in SETTINGS:
        lives(of(plugin, kind), {"bucket": bucket, **given}, **changed)
    assert client(endpoint, "s3").get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_a_role_its_policy_and_a_profile(plugin: AwsClient) -> None:
    document = json.dumps(assumed_by_machines())
    role = {"name": "members", "assumeRolePolicy": document, "description": "one", "tags": TAGS}
    other = document.replace("ec2", "lambda")
    lives(plugin.of("iam/role:Role"), role, description="two", assumeRolePolicy=other, tags={"Name": "two"})
    name, state = plugin.of("iam/role:Role").create(role)
    assert (name, state["arn"]) == (state["name"], f"arn:aws:iam::123456789012:role/{name}")
    policy, profile = plugin.of("iam/rolePolicy:RolePolicy"), plugin.of("iam/instanceProfile:InstanceProfile")
    allowed = {"role": name, "name": "allowed", "policy": json.dumps(members_policy(ARN))}
    assert lives(policy, allowed, policy=json.dumps(members_policy("arn:aws:s3:::x")))["id"] == f"{name}:allowed"
    lives(profile, {"name": "machines", "role": name, "tags": TAGS}, role=None, tags={"Name": "two"})


def test_an_instance_gets_another_profile_while_it_runs(plugin: AwsClient, endpoint: str) -> None:
    iam, ec2 = client(endpoint, "iam"), client(endpoint)
    for name in ("first", "second"):
        iam.create_instance_profile(InstanceProfileName=name)
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    card = plugin.of("ec2/networkInterface:NetworkInterface").create({"subnetId": subnet})[0]
    instance, given = (
        plugin.of("ec2/instance:Instance"),
        {
            "ami": ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
            "instanceType": "t3.micro",
            "primaryNetworkInterface": {"networkInterfaceId": card},
        },
    )
    identity, state = instance.create(given)
    for profile in ("first", "second", ""):
        new = {**given, "iamInstanceProfile": profile} if profile else given
        assert not any(change & 1 for change in instance.diff(state, {**given}, new).values())
        state = instance.update(state, new)
        assert state["id"] == identity
        there = ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
        assert [row["IamInstanceProfile"]["Arn"].rpartition("/")[2] for row in there] == ([profile] if profile else [])


def test_the_lifecycle_has_a_rule_for_each_purpose() -> None:
    assert [rule["id"] for rule in lifecycle(AwsBucket("snapshots"))] == ["unfinished-uploads", "old-versions"]
    assert lifecycle(AwsBucket("snapshots", days=90))[-1] == {"id": "snapshots", "expiration": {"days": 90}}
