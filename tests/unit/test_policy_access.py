"""Policy `named-ranges-only`: nobody but named ranges reaches ssh, etcd and its metrics."""

import re
from typing import Any

import pytest

from tests.support.policies import UNKNOWN, Pack, secret

RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OLD_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
DEFAULT_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
FIREWALL = "hcloud:index/firewall:Firewall"


def rule(*, port: Any = 2379, last: Any = None, protocol: Any = "tcp", **source: Any) -> dict[str, Any]:
    return {"ipProtocol": protocol, "fromPort": port, "toPort": last or port, "securityGroupId": UNKNOWN, **source}


def inline(*, protocol: str | int = "tcp", port: float = 2379, last: float = 2380, **source: Any) -> dict[str, Any]:
    return {"protocol": protocol, "fromPort": port, "toPort": last, **source}


def firewall(port: str | int | None, *sources: str, protocol: str = "tcp", direction: str = "in") -> dict[str, Any]:
    return {"rules": [{"direction": direction, "protocol": protocol, "port": port, "sourceIps": list(sources)}]}


PASSES: list[tuple[str, dict[str, Any]]] = [
    (RULE, rule(cidrIpv4="203.0.113.7/32")),
    (RULE, rule(cidrIpv4="10.0.0.0/8")),
    (RULE, rule(cidrIpv6="2001:db8::/32")),
    (RULE, rule(referencedSecurityGroupId=UNKNOWN)),
    (RULE, rule(port=443, cidrIpv4="0.0.0.0/0")),
    (RULE, rule(protocol="udp", cidrIpv4="0.0.0.0/0")),
    (RULE, rule(port=443, cidrIpv4=UNKNOWN)),
    (OLD_RULE, {"type": "egress", **inline(cidrBlocks=["0.0.0.0/0"])}),
    (OLD_RULE, {"type": "ingress", **inline(sourceSecurityGroupId=UNKNOWN)}),
    (
        GROUP,
        {
            "ingress": [inline(cidrBlocks=["10.1.0.0/16"]), inline(self=True)],
            "egress": [inline(cidrBlocks=["0.0.0.0/0"])],
        },
    ),
    (GROUP, {"description": "without rules"}),
    (DEFAULT_GROUP, {"ingress": []}),
    (FIREWALL, firewall("22", "203.0.113.7/32", "10.0.0.1")),
    (FIREWALL, firewall("443", "0.0.0.0/0", "::/0")),
    (FIREWALL, firewall(None, "0.0.0.0/0", protocol="icmp")),
    (FIREWALL, firewall("any", "0.0.0.0/0", direction="out")),
    ("aws:ec2/vpc:Vpc", {"cidrBlock": "0.0.0.0/0"}),
]
FAILS: list[tuple[str, dict[str, Any], str]] = [
    (RULE, rule(cidrIpv4="0.0.0.0/0"), "Port 2379 is open to 0.0.0.0/0: the internet"),
    (RULE, rule(port=22, cidrIpv6="::/0"), "Port 22 is open to ::/0: the internet"),
    (
        RULE,
        rule(cidrIpv4=secret("128.0.0.0/1")),
        "Port 2379 is open to 128.0.0.0/1: the internet, or a large part of it",
    ),
    (RULE, rule(port=0, last=65535, cidrIpv4="0.0.0.0/0"), "Ports 22, 2379, 2380, 2381, 2382 are open to 0.0.0.0/0"),
    (RULE, {"ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"}, "Ports 22, 2379, 2380, 2381, 2382 are open to 0.0.0.0/0"),
    (RULE, rule(protocol="6", cidrIpv4="0.0.0.0/0"), "Port 2379 is open"),
    (RULE, rule(prefixListId="pl-1"), "Port 2379 is open to the prefix list pl-1, whose ranges are not visible here"),
    (RULE, rule(cidrIpv4="everybody"), "Port 2379 is open to 'everybody', which is no range of addresses"),
    (OLD_RULE, {"type": "ingress", **inline(cidrBlocks=["10.1.0.0/16", "0.0.0.0/0"])}, "Ports 2379, 2380 are open"),
    (OLD_RULE, {"type": "ingress", **inline(prefixListIds=["pl-2"])}, "prefix list pl-2"),
    (GROUP, {"ingress": [inline(self=True), inline(ipv6CidrBlocks=["::/0"])]}, "Ports 2379, 2380 are open to ::/0"),
    (
        DEFAULT_GROUP,
        {"ingress": [inline(protocol="-1", cidrBlocks=["0.0.0.0/0"])]},
        "Ports 22, 2379, 2380, 2381, 2382 are",
    ),
    (FIREWALL, firewall("22", "203.0.113.7/32", "0.0.0.0/0"), "Port 22 is open to 0.0.0.0/0"),
    (FIREWALL, firewall(22, "0.0.0.0/0"), "Port 22 is open to 0.0.0.0/0"),
    (GROUP, {"ingress": [inline(protocol=-1, cidrBlocks=["0.0.0.0/0"])]}, "Ports 22, 2379, 2380, 2381, 2382 are open"),
    (RULE, rule(protocol=6, cidrIpv4="0.0.0.0/0"), "Port 2379 is open"),
    (FIREWALL, firewall("2000-2379", "::/0"), "Port 2379 is open to ::/0"),
    (FIREWALL, firewall("any", "0.0.0.0/0"), "Ports 22, 2379, 2380, 2381, 2382 are open to 0.0.0.0/0"),
]
UNKNOWNS: list[tuple[str, dict[str, Any], str]] = [
    (RULE, rule(cidrIpv4=UNKNOWN), ".cidrIpv4"),
    (RULE, rule(port=UNKNOWN, cidrIpv4="10.0.0.0/8"), ".fromPort"),
    (RULE, rule(protocol=UNKNOWN), ".ipProtocol"),
    (OLD_RULE, {"type": "ingress", **inline(cidrBlocks=[UNKNOWN])}, ".cidrBlocks.0"),
    (GROUP, {"ingress": UNKNOWN}, ".ingress"),
    (FIREWALL, {"rules": [UNKNOWN]}, ".rules.0"),
    (FIREWALL, firewall("22", UNKNOWN), ".rules.0.sourceIps.0"),
]


@pytest.mark.parametrize(("type_", "inputs"), PASSES)
def test_a_rule_for_named_ranges_groups_or_other_ports_passes(type_: str, inputs: dict[str, Any]) -> None:
    assert Pack().said(type_, inputs) == []


@pytest.mark.parametrize(("type_", "inputs", "said"), FAILS)
def test_a_rule_for_everybody_is_refused_wherever_it_is(type_: str, inputs: dict[str, Any], said: str) -> None:
    for component in ("AwsNetwork", None):
        (found,) = Pack().said(type_, inputs, component=component)
        assert found.startswith("named-ranges-only: ")
        assert said in found
        assert re.search(r"\. (Name|Remove|Set) ", found), "it says what to do"


@pytest.mark.parametrize(("type_", "inputs", "where"), UNKNOWNS)
def test_what_is_not_known_yet_is_said_and_not_passed_silently(type_: str, inputs: dict[str, Any], where: str) -> None:
    (found,) = Pack().said(type_, inputs)
    assert found.startswith("?named-ranges-only: ")
    assert f"value at {where} can't be known during preview" in found


def test_an_unknown_value_hides_no_violation_beside_it() -> None:
    rules = [inline(cidrBlocks=[UNKNOWN, "0.0.0.0/0"]), inline(protocol=UNKNOWN), inline(ipv6CidrBlocks=["::/0"])]
    first, second, unknown = Pack().said(GROUP, {"ingress": rules})
    assert "open to 0.0.0.0/0" in first
    assert "open to ::/0" in second
    assert unknown.startswith("?named-ranges-only: ")
    assert ".ingress.0.cidrBlocks.0" in unknown


def test_only_the_configured_ranges_and_prefix_lists_reach_a_port() -> None:
    config = {"ranges": {"22": ["203.0.113.0/24"], "8080": []}, "prefixLists": ["pl-1"], "ports": [22.0, 2379.0]}
    pack = Pack({"named-ranges-only": config})
    assert pack.said(RULE, rule(port=22, cidrIpv4="203.0.113.7/32")) == []
    assert pack.said(RULE, rule(cidrIpv4="198.51.100.0/24")) == []
    assert pack.said(RULE, rule(prefixListId="pl-1")) == []
    assert pack.said(RULE, rule(port=2380, cidrIpv4="0.0.0.0/0")) == []
    (found,) = pack.said(RULE, rule(port=22, cidrIpv4="198.51.100.0/24"))
    assert "Port 22 is open to 198.51.100.0/24, but this policy allows 203.0.113.0/24. Remove the rule, or" in found
    (found,) = pack.said(RULE, rule(port=22, cidrIpv6="2001:db8::/64"))
    assert "but this policy allows 203.0.113.0/24" in found
    (found,) = pack.said(RULE, rule(port=8080, cidrIpv4="10.0.0.0/8"))
    assert "Port 8080 is open to 10.0.0.0/8, but this policy allows no range" in found
    (both, outside) = pack.said(RULE, rule(port=22, last=2379, cidrIpv4="0.0.0.0/0"))
    assert "Port 2379 is open to 0.0.0.0/0: the internet" in both
    assert "Port 22 is open to 0.0.0.0/0, but this policy allows" in outside


def test_a_configured_range_that_is_none_ends_the_run() -> None:
    pack = Pack({"named-ranges-only": {"ranges": {"22": ["office"]}}})
    with pytest.raises(
        ValueError, match=r"named-ranges-only\.ranges\.22: 'office' .* Write ranges like 10\.1\.0\.0/16"
    ):
        pack.said(RULE, rule(port=22, cidrIpv4="10.0.0.0/8"))


def test_the_scope_can_be_what_the_components_create() -> None:
    pack = Pack({"named-ranges-only": {"scope": "components"}})
    assert pack.said(RULE, rule(cidrIpv4="0.0.0.0/0"), component=None) == []
    assert pack.said(RULE, rule(cidrIpv4="0.0.0.0/0"), component="AwsNetwork") != []
