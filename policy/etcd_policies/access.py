"""Who may connect to etcd, to its metrics, and to ssh."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from pulumi_policy import ResourceValidationArgs

from .rule import Findings, Schemas, Settings, resource_policy

Range = ipaddress.IPv4Network | ipaddress.IPv6Network

NAME = "named-ranges-only"
_LARGEST = {4: 8, 6: 16}
"""IP version -> the shortest prefix of a range that is not "everybody" if no ranges are named."""
_ANY = ("-1", "all")
_TCP = ("tcp", "6")

_SCHEMAS: Schemas = {
    "ports": {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": 65535},
        "default": [22, 2379, 2380, 2381, 2382],
        "description": "The TCP ports: ssh, etcd's clients, its peers, its metrics.",
    },
    "ranges": {
        "type": "object",
        "propertyNames": {"pattern": "^[0-9]+$"},
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
        "default": {},
        "description": "Port -> the only ranges that may reach it. Without it: any range that is not about everybody.",
    },
    "prefixLists": {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "description": "IDs of prefix lists of AWS that may reach the ports. Their content is not visible here.",
    },
}


class _Ports:
    """The ports that are guarded, and who may reach them."""

    def __init__(self, settings: Settings) -> None:
        self._ranges = {int(port): _ranges(port, given) for port, given in settings["ranges"].items()}
        # Pulumi passes numbers as floats.
        self._ports = sorted({*(int(port) for port in settings["ports"]), *self._ranges})
        self._lists = frozenset(settings["prefixLists"])

    def inside(self, first: int, last: int) -> list[int]:
        """Those from `first` to `last`."""
        return [port for port in self._ports if first <= port <= last]

    def check_source(self, source: str, opened: Iterable[int], findings: Findings) -> None:
        """Report the ports which this range must not reach."""
        try:
            found = ipaddress.ip_network(source, strict=False)
        except ValueError:
            findings.violated(f"{_named(opened)} open to {source!r}, which is no range of addresses. Name a range.")
            return
        wide = [port for port in opened if port not in self._ranges and found.prefixlen < _LARGEST[found.version]]
        if wide:
            findings.violated(
                f"{_named(wide)} open to {source}: the internet, or a large part of it. Name the ranges that need "
                "access: those of operators for 22, of API servers for 2379."
            )
        for port in opened:
            allowed = self._ranges.get(port)
            if allowed is not None and not any(_contains(each, found) for each in allowed):
                only = ", ".join(map(str, allowed)) or "no range"
                findings.violated(
                    f"Port {port} is open to {source}, but this policy allows {only}. Remove the rule, or add the "
                    f"range to `ranges` of {NAME}."
                )

    def check_list(self, name: str, opened: Iterable[int], findings: Findings) -> None:
        """Report a prefix list that is not allowed."""
        if name not in self._lists:
            findings.violated(
                f"{_named(opened)} open to the prefix list {name}, whose ranges are not visible here. Name the ranges "
                f"instead, or add the list to `prefixLists` of {NAME}."
            )


def _ranges(port: str, given: Iterable[str]) -> list[Range]:
    """Raises ValueError if the configuration names something else."""
    try:
        return [ipaddress.ip_network(text) for text in given]
    except ValueError as error:
        raise ValueError(f"{NAME}.ranges.{port}: {error}. Write ranges like 10.1.0.0/16") from error


def _contains(outer: Range, inner: Range) -> bool:
    if isinstance(outer, ipaddress.IPv4Network):
        return isinstance(inner, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, ipaddress.IPv6Network) and inner.subnet_of(outer)


def _named(ports: Iterable[int]) -> str:
    found = [str(port) for port in ports]
    return f"Port {found[0]} is" if len(found) == 1 else f"Ports {', '.join(found)} are"


def _check_aws(
    rule: Mapping[str, Any], ports: _Ports, findings: Findings, *, protocol: str, sources: list[str], lists: list[str]
) -> None:
    """Check one ingress rule; the arguments name its keys. Groups may reach the ports."""
    transport = _text(rule.get(protocol)).lower()
    if transport not in (*_ANY, *_TCP):
        return
    first, last = rule.get("fromPort"), rule.get("toPort")
    all_ports = transport in _ANY or first is None or last is None
    opened = ports.inside(*((0, 65535) if all_ports else (int(first or 0), int(last or 0))))
    if not opened:
        return
    for key in sources:
        with findings.if_known():
            for source in findings.known(_several(rule.get(key))):
                ports.check_source(source, opened, findings)
    for key in lists:
        with findings.if_known():
            for name in findings.known(_several(rule.get(key))):
                ports.check_list(name, opened, findings)


def _text(value: Any) -> str:
    """A text, as the provider takes it: programs without types may give a number, which arrives as 6.0."""
    return str(int(value) if isinstance(value, float) else value)


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_INLINE: dict[str, Any] = {
    "protocol": "protocol",
    "sources": ["cidrBlocks", "ipv6CidrBlocks"],
    "lists": ["prefixListIds"],
}


def _security_group(args: ResourceValidationArgs, settings: Settings, findings: Findings) -> None:
    ports = _Ports(settings)
    for rule in findings.known(args.props.get("ingress")):
        with findings.if_known():
            _check_aws(rule, ports, findings, **_INLINE)


def _security_group_rule(args: ResourceValidationArgs, settings: Settings, findings: Findings) -> None:
    if args.props.get("type") == "ingress":
        _check_aws(args.props, _Ports(settings), findings, **_INLINE)


def _ingress_rule(args: ResourceValidationArgs, settings: Settings, findings: Findings) -> None:
    _check_aws(
        args.props,
        _Ports(settings),
        findings,
        protocol="ipProtocol",
        sources=["cidrIpv4", "cidrIpv6"],
        lists=["prefixListId"],
    )


def _firewall(args: ResourceValidationArgs, settings: Settings, findings: Findings) -> None:
    ports = _Ports(settings)
    for rule in findings.known(args.props.get("rules")):
        with findings.if_known():
            if rule.get("direction") != "in" or rule.get("protocol") != "tcp":
                continue
            first, _, last = _text(rule.get("port") or "any").partition("-")
            opened = ports.inside(0, 65535) if first == "any" else ports.inside(int(first), int(last or first))
            for source in findings.known(rule.get("sourceIps") if opened else ()):
                ports.check_source(source, opened, findings)


ACCESS = resource_policy(
    NAME,
    "Only named ranges reach ssh and etcd.",
    {
        "aws:ec2/securityGroup:SecurityGroup": _security_group,
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _security_group,
        "aws:ec2/securityGroupRule:SecurityGroupRule": _security_group_rule,
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _ingress_rule,
        "hcloud:index/firewall:Firewall": _firewall,
    },
    _SCHEMAS,
    # A rule beside the components can open the same group.
    everywhere=True,
)
