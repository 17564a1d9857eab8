"""Rules of security groups: one resource each, named after what it allows, so that none depends on another."""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from ..plan.ranges import parse_range
from .tags import tags


class Rules:
    """Creates the rules of one component.

    Args:
        parent: the component.
        name: prefix of the rules' resource names: the component's name.
        cluster: name of the cluster.
        further: the user's tags.
    """

    def __init__(self, parent: pulumi.Resource, name: str, cluster: str, further: dict[str, str]) -> None:
        self._name, self._cluster, self._further = name, cluster, further
        # AWS refuses a duplicate rule.
        self._child = pulumi.ResourceOptions(parent=parent, delete_before_replace=True)

    def from_ranges(
        self, group: pulumi.Output[str], purpose: str, port: int, ranges: Sequence[str], *, last: int | None = None
    ) -> list[pulumi.Resource]:
        """Allows ranges to reach a port, or ports up to `last`, of the machines in a group; returns the rules."""
        found = dict.fromkeys(str(parse_range(text) or text) for text in ranges)
        return [
            self._ingress(
                group,
                f"{purpose}-{text.replace('/', '-').replace(':', '.')}",
                (port, last or port),
                purpose,
                _cidr(text),
            )
            for text in found
        ]

    def from_group(
        self, group: pulumi.Output[str], suffix: str, port: int, purpose: str, source: pulumi.Input[str]
    ) -> pulumi.Resource:
        """Allows machines in the group `source` to reach a port of those in `group`; returns the rule."""
        return self._ingress(group, suffix, (port, port), purpose, {"referenced_security_group_id": source})

    def out(
        self, group: pulumi.Output[str], suffix: str, port: int | None, target: pulumi.Input[str] | None
    ) -> pulumi.Resource:
        """Allows machines in `group` to reach a port of those in `target`, or everything; returns the rule."""
        to: dict[str, Any] = {"cidr_ipv4": "0.0.0.0/0", "ip_protocol": "-1"}
        if target is not None:
            to = {"referenced_security_group_id": target, "ip_protocol": "tcp", "from_port": port, "to_port": port}
        return aws.vpc.SecurityGroupEgressRule(
            f"{self._name}-{suffix}", security_group_id=group, tags=self._tags(suffix), opts=self._child, **to
        )

    def _ingress(
        self, group: pulumi.Output[str], suffix: str, ports: tuple[int, int], purpose: str, source: dict[str, Any]
    ) -> pulumi.Resource:
        return aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-{suffix}",
            security_group_id=group,
            ip_protocol="tcp",
            from_port=ports[0],
            to_port=ports[1],
            description=purpose,
            tags=self._tags(suffix),
            opts=self._child,
            **source,
        )

    def _tags(self, suffix: str) -> dict[str, str]:
        return tags(self._cluster, self._further, f"{self._cluster}-{suffix}")


def _cidr(text: str) -> dict[str, str]:
    return {"cidr_ipv6" if ":" in text else "cidr_ipv4": text}
