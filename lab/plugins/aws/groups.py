"""Security groups and their rules, one resource each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..rest_resource import Values
from ..server import Call
from .base import BUSY, REPLACES, AwsResource, pascal
from .cloud import patiently

_PLACES = {
    "cidrIpv4": ("IpRanges", "CidrIp"),
    "cidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
}


class SecurityGroup(AwsResource):
    autonamed = True
    title, marks = "SecurityGroup", "security-group"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "name": REPLACES,
        "description": {"replaces": True, "default": "Managed by Pulumi"},
        "vpcId": REPLACES,
        "revokeRulesOnDelete": {"default": False},
    }
    computed = frozenset({"ingress", "egress", "vpcId", "region", "namePrefix"})
    sent = ("name", "description", "vpcId")
    in_place = ("revokeRulesOnDelete",)
    where: ClassVar[Mapping[str, str]] = {"name": "GroupName"}
    hidden = frozenset({"revokeRulesOnDelete"})

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        answer = self.ec2("create_security_group", **self.body(given), **self.tagged(given))
        return str(answer["GroupId"]), answer

    def finish(self, call: Call, identity: str, given: Values) -> None:  # noqa: ARG002
        # As in the official plugin: the default egress rule of a new group is removed.
        self._revoke(identity, egress=True)

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        found = self.found("describe_security_groups", GroupIds=[identity])
        return dict(found[0]) if found else None

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        return {**found, "description": thing["Description"]}

    def remove(self, call: Call, identity: str, state: Values) -> None:
        if state.get("revokeRulesOnDelete"):
            for egress in (False, True):
                self._revoke(identity, egress=egress)
        patiently(call, BUSY, lambda: self.ec2("delete_security_group", GroupId=identity))

    def _revoke(self, identity: str, *, egress: bool) -> None:
        here = [{"Name": "group-id", "Values": [identity]}]
        rules = self.ec2("describe_security_group_rules", Filters=here)["SecurityGroupRules"]
        ids = [rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"] is egress]
        if ids:
            name = "egress" if egress else "ingress"
            self.ec2(f"revoke_security_group_{name}", GroupId=identity, SecurityGroupRuleIds=ids)


class _Rule(AwsResource):
    marks = "security-group-rule"
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {"securityGroupId": REPLACES}
    served = ("ipProtocol", "fromPort", "toPort", "description", *_PLACES)
    computed = frozenset({"region"})
    where: ClassVar[Mapping[str, str]] = {
        "securityGroupId": "GroupId",
        "referencedSecurityGroupId": "ReferencedGroupInfo.GroupId",
    }
    direction: ClassVar[str] = ""

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        told = {"Description": given["description"]} if given.get("description") else {}
        rule: Values = {"IpProtocol": given["ipProtocol"]}
        rule |= {pascal(name): given[name] for name in ("fromPort", "toPort") if name in given}
        for name, (place, key) in _PLACES.items():
            if given.get(name):
                rule[place] = [{key: given[name], **told}]
        group = given["securityGroupId"]
        operation = f"authorize_security_group_{self.direction}"
        answer = self.ec2(operation, GroupId=group, IpPermissions=[rule], **self.tagged(given))
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]), answer

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002
        found = self.found("describe_security_group_rules", SecurityGroupRuleIds=[identity])
        return dict(found[0]) if found else None

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:
        found = super().seen(thing, given)
        for name in ("fromPort", "toPort"):
            if found.get(name) == -1 and name not in given:
                del found[name]
        return {**found, "securityGroupRuleId": thing["SecurityGroupRuleId"]}

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002
        operation = f"revoke_security_group_{self.direction}"
        self.ec2(operation, GroupId=state["securityGroupId"], SecurityGroupRuleIds=[identity])


class IngressRule(_Rule):
    direction = "ingress"


class EgressRule(_Rule):
    direction = "egress"
