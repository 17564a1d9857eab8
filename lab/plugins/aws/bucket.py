"""Buckets of S3, and their settings, one resource each, whose id is the bucket's name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from ..rest import RefusedError
from ..rest_resource import Difference, Values
from ..server import Call
from .base import REPLACES, AwsResource, pascal
from .cloud import patiently

_BUSY = ("OperationAborted", "NoSuchBucket")
_NAMES = {"id": "ID", "sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
_OURS = {theirs: ours for ours, theirs in _NAMES.items()}


class S3Resource(AwsResource):
    """A bucket or a setting of one."""

    def s3(self, operation: str, **given: Any) -> Values:
        """One request to S3. Raises what `Cloud.ask` raises."""
        return self.cloud.ask("s3", operation, **given)

    def asked(self, operation: str, identity: str) -> Values | None:
        """What a request says of the bucket; None if there is no such bucket or setting."""
        try:
            return self.s3(operation, Bucket=identity)
        except RefusedError as error:
            if error.code != "not_found":
                raise
            return None


class Bucket(S3Resource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"bucket": REPLACES, "forceDestroy": {"default": False}}
    sent = ("bucket",)

    @cached_property
    def computed(self) -> frozenset[str]:  # type: ignore[override]
        """The properties that AWS sets if the program does not: settings are resources of their own."""
        return frozenset(self.fields) - {"bucket", "tags", "forceDestroy"}

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        place = {"LocationConstraint": self.cloud.region}
        place_given = {} if self.cloud.region == "us-east-1" else {"CreateBucketConfiguration": place}
        self.s3("create_bucket", Bucket=given["bucket"], **place_given)
        return str(given["bucket"]), {}

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        self.retag(identity, {}, given.get("tags") or {})

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        if self.asked("get_bucket_location", identity) is None:
            return None
        return {"tags": (self.asked("get_bucket_tagging", identity) or {}).get("TagSet", []), "bucket": identity}

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:  # noqa: ARG002
        tags = {row["Key"]: row["Value"] for row in thing["tags"]}
        name = thing["bucket"]
        return {
            **{"bucket": name, "arn": f"arn:aws:s3:::{name}", "region": self.cloud.region},
            **{"tags": tags, "tagsAll": tags, "bucketDomainName": f"{name}.s3.amazonaws.com"},
        }

    def retag(self, identity: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        rows = [{"Key": key, "Value": value} for key, value in new.items()]
        if rows:
            self.s3("put_bucket_tagging", Bucket=identity, Tagging={"TagSet": rows})
        elif old:
            self.s3("delete_bucket_tagging", Bucket=identity)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self.s3("delete_bucket", Bucket=identity)


class BucketSetting(S3Resource):
    """A setting.

    Attributes:
        operation: of the API, without the verb.
        argument: of the request that sets it.
        answer: where it is in the answer; empty: the answer itself.
        delete_operation: the whole name, if it differs.
    """

    operation: ClassVar[str] = ""
    argument: ClassVar[str] = ""
    answer: ClassVar[str] = ""
    delete_operation: ClassVar[str] = ""
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"bucket": REPLACES}

    @cached_property
    def computed(self) -> frozenset[str]:  # type: ignore[override]
        """The properties that AWS sets if the program does not."""
        return frozenset(self.fields) - {"bucket", *self.sent}

    @property
    def in_place(self) -> tuple[str, ...]:  # type: ignore[override]
        """A change sends all of it again."""
        return self.sent

    def theirs(self, given: Values) -> Any:
        """The setting, as the API has it."""
        return _theirs({name: given[name] for name in self.sent if given.get(name) is not None})

    def ours(self, answer: Values) -> Values:
        """The setting, as the program has it."""
        return dict(_ours(answer[self.answer] if self.answer else answer))

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        self._put(call, given["bucket"], self.theirs(given))
        return str(given["bucket"]), {}

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        answer = self.asked(f"get_{self.operation}", identity)
        return None if answer is None else {**self.ours(answer), "bucket": identity}

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:  # noqa: ARG002
        return {**{name: thing[name] for name in self.sent if name in thing}, "region": self.cloud.region}

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        self._put(call, change.identity, self.theirs(change.new))

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self.s3(self.delete_operation or f"delete_{self.operation}", Bucket=identity)

    def _put(self, call: Call, bucket: str, value: Any) -> None:
        given = {self.argument: value}
        patiently(call, _BUSY, lambda: self.s3(f"put_{self.operation}", Bucket=bucket, **given))


class Versioning(BucketSetting):
    sent = ("versioningConfiguration",)
    operation, argument = "bucket_versioning", "VersioningConfiguration"

    def theirs(self, given: Values) -> Any:
        return _theirs(given["versioningConfiguration"])

    def ours(self, answer: Values) -> Values:
        return {"versioningConfiguration": {"status": answer.get("Status", "")}}

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self._put(call, identity, {"Status": "Suspended"})

    def look(self, call: Call, identity: str) -> Values | None:
        found = super().look(call, identity)
        # It cannot be removed; what is suspended counts as removed.
        return found if found and found["versioningConfiguration"]["status"] == "Enabled" else None


class PublicAccessBlock(BucketSetting):
    sent = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    operation = "public_access_block"
    argument = answer = "PublicAccessBlockConfiguration"


class Encryption(BucketSetting):
    sent = ("rules",)
    operation = "bucket_encryption"
    argument = answer = "ServerSideEncryptionConfiguration"


class Lifecycle(BucketSetting):
    sent = ("rules",)
    operation, argument = "bucket_lifecycle_configuration", "LifecycleConfiguration"
    delete_operation = "delete_bucket_lifecycle"


class Policy(BucketSetting):
    sent = ("policy",)
    operation, argument = "bucket_policy", "Policy"

    def theirs(self, given: Values) -> Any:
        return given["policy"]

    def ours(self, answer: Values) -> Values:
        return {"policy": answer["Policy"]}

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        return {**super().seen(thing, given), "policy": same_document(thing["policy"], given.get("policy"))}


class ObjectLock(BucketSetting):
    sent = ("rule",)
    operation = "object_lock_configuration"
    argument = answer = "ObjectLockConfiguration"

    def theirs(self, given: Values) -> Any:
        return {"ObjectLockEnabled": "Enabled", **super().theirs(given)}

    def look(self, call: Call, identity: str) -> Values | None:
        found = super().look(call, identity)
        # Once enabled it stays so; without a rule it counts as removed.
        return found if found and found.get("rule", {}).get("defaultRetention") else None

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self._put(call, identity, {"ObjectLockEnabled": "Enabled"})


def same_document(found: Any, given: str | None) -> str:
    """The JSON of a policy: as it was given, if that means the same."""
    document = json.loads(found) if isinstance(found, str) else found
    return given if given is not None and json.loads(given) == document else json.dumps(document)


def _theirs(value: Any) -> Any:
    if isinstance(value, dict):
        return {_NAMES.get(name, pascal(name)): _theirs(item) for name, item in value.items()}
    return [_theirs(item) for item in value] if isinstance(value, list) else value


def _ours(value: Any) -> Any:
    if isinstance(value, dict):
        return {_OURS.get(name, name[:1].lower() + name[1:]): _ours(item) for name, item in value.items()}
    return [_ours(item) for item in value] if isinstance(value, list) else value
