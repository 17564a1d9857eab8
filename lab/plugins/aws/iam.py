"""Roles, their policies, and instance profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest import RefusedError
from ..rest_resource import Difference, Values
from ..server import Call
from .base import REPLACES, AwsResource
from .bucket import same_document


class IamResource(AwsResource):
    """A resource of IAM, which is of no region."""

    autonamed = True

    def iam(self, operation: str, **given: Any) -> Values:
        """One request to IAM. Raises what `Cloud.ask` raises."""
        return self.cloud.ask("iam", operation, **given)

    def asked(self, operation: str, **given: Any) -> Values | None:
        """The answer; None if there is no such thing."""
        try:
            return self.iam(operation, **given)
        except RefusedError as error:
            if error.code != "not_found":
                raise
            return None

    def tagged(self, given: Values) -> Values:
        return {"Tags": _rows(given.get("tags") or {})}


class Role(IamResource):
    title = "Role"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "name": REPLACES,
        "path": {"replaces": True, "default": "/"},
        "forceDetachPolicies": {"default": False},
        "maxSessionDuration": {"default": 3600},
    }
    computed = frozenset({"managedPolicyArns", "inlinePolicies", "namePrefix"})
    served = ("assumeRolePolicy", "description")
    in_place = ("assumeRolePolicy", "description")

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        name, described = given["name"], {"Description": given["description"]} if given.get("description") else {}
        answer = self.iam(
            "create_role",
            RoleName=name,
            AssumeRolePolicyDocument=given["assumeRolePolicy"],
            **described,
            **self.tagged(given),
        )
        return str(name), answer["Role"]

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        answer = self.asked("get_role", RoleName=identity)
        return None if answer is None else dict(answer["Role"])

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        tags = {row["Key"]: row["Value"] for row in thing.get("Tags", [])}
        document = same_document(thing["AssumeRolePolicyDocument"], given.get("assumeRolePolicy"))
        return {
            **{"name": thing["RoleName"], "arn": thing["Arn"], "uniqueId": thing["RoleId"], "path": thing["Path"]},
            **{"assumeRolePolicy": document, "description": thing.get("Description", "")},
            **{"tags": tags, "tagsAll": tags},
        }

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("description"):
            self.iam("update_role", RoleName=change.identity, Description=change.new.get("description", ""))
        if change.at("assumeRolePolicy"):
            document = change.new["assumeRolePolicy"]
            self.iam("update_assume_role_policy", RoleName=change.identity, PolicyDocument=document)

    def retag(self, identity: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        if gone := [key for key in old if key not in new]:
            self.iam("untag_role", RoleName=identity, TagKeys=gone)
        if new:
            self.iam("tag_role", RoleName=identity, Tags=_rows(new))

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self.iam("delete_role", RoleName=identity)


class RolePolicy(IamResource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"name": REPLACES, "role": REPLACES}
    served = ("policy",)
    in_place = ("policy",)
    computed = frozenset({"namePrefix"})

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        self._put(given)
        return f"{given['role']}:{given['name']}", {}

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        role, _, name = identity.partition(":")
        return self.asked("get_role_policy", RoleName=role, PolicyName=name)

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        policy = same_document(thing["PolicyDocument"], given.get("policy"))
        return {"role": thing["RoleName"], "name": thing["PolicyName"], "policy": policy}

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        self._put(change.new)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        role, _, name = identity.partition(":")
        self.iam("delete_role_policy", RoleName=role, PolicyName=name)

    def _put(self, given: Values) -> None:
        self.iam("put_role_policy", RoleName=given["role"], PolicyName=given["name"], PolicyDocument=given["policy"])


class InstanceProfile(IamResource):
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"name": REPLACES, "path": {"replaces": True, "default": "/"}}
    served = ("role",)
    in_place = ("role",)
    computed = frozenset({"namePrefix"})

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        answer = self.iam("create_instance_profile", InstanceProfileName=given["name"], **self.tagged(given))
        return str(given["name"]), answer["InstanceProfile"]

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        self._swap(identity, None, given.get("role"))

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        answer = self.asked("get_instance_profile", InstanceProfileName=identity)
        return None if answer is None else dict(answer["InstanceProfile"])

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:  # noqa: ARG002
        tags = {row["Key"]: row["Value"] for row in thing.get("Tags", [])}
        role = [{"role": each["RoleName"]} for each in thing["Roles"]]
        return {
            **{"name": thing["InstanceProfileName"], "arn": thing["Arn"], "uniqueId": thing["InstanceProfileId"]},
            **{"path": thing["Path"], "tags": tags, "tagsAll": tags, **(role[0] if role else {})},
        }

    def change(self, call: Call, change: Difference) -> None:
        super().change(call, change)
        if change.at("role"):
            self._swap(change.identity, change.old.get("role"), change.new.get("role"))

    def retag(self, identity: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        if gone := [key for key in old if key not in new]:
            self.iam("untag_instance_profile", InstanceProfileName=identity, TagKeys=gone)
        if new:
            self.iam("tag_instance_profile", InstanceProfileName=identity, Tags=_rows(new))

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        self._swap(identity, state.get("role"), None)
        self.iam("delete_instance_profile", InstanceProfileName=identity)

    def _swap(self, identity: str, old: str | None, new: str | None) -> None:
        for operation, role in (("remove_role_from_instance_profile", old), ("add_role_to_instance_profile", new)):
            if role:
                self.iam(operation, InstanceProfileName=identity, RoleName=role)


def _rows(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
