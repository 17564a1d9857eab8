"""VPCs on this computer: a bridge and a router each, with security groups and route tables as packet filters.

The router does what AWS does without a machine: it has the first address of every subnet and forwards between them.
It is also the internet gateway and the NAT gateways towards the public network, the lab's own bridge.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ... import host
from .. import bridges
from .account import Account

# Used as the outgoing opening, because an empty list would allow everything out.
_NOTHING = bridges.Opening("tcp", None, ())


@dataclass
class Plan:
    """The configuration of a VPC's router.

    Attributes:
        addresses: Its own in the subnets, with prefix length.
        public: Private address by the public one that is mapped to it.
        nat: Subnets by the public address of their NAT gateway.
        out: Routes to the public network: subnet and destination.
    """

    addresses: list[str] = field(default_factory=list)
    public: dict[str, str] = field(default_factory=dict)
    nat: list[tuple[str, str, str]] = field(default_factory=list)
    out: list[tuple[str, str]] = field(default_factory=list)

    @property
    def shown(self) -> list[str]:
        """Its public addresses."""
        return sorted({*self.public, *(public for _, _, public in self.nat)})


class Networks:
    """All VPCs of the account that have had an instance. Callers hold the account's lock."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._routers: dict[str, Router] = {}
        self._filters: list[bridges.Port] | None = None

    def settle(self) -> None:
        """Make bridges, routers and filters match moto's model."""
        there = {vpc.id: (region, vpc) for region in self._account.regions() for vpc in region.vpcs.values()}
        for vpc_id in [one for one in self._routers if one not in there]:
            self._routers.pop(vpc_id).remove()
        for vpc_id, (region, vpc) in there.items():
            nics = [nic for nic in region.enis.values() if nic.vpc_id == vpc_id]
            if vpc_id not in self._routers:
                if not any(nic.instance for nic in nics):
                    continue
                self._routers[vpc_id] = Router(self._account, vpc_id)
            self._routers[vpc_id].follow(_plan(region, vpc, nics))
        ports = [port for region in self._account.regions() for port in self._ports(region)]
        if ports != self._filters:
            bridges.filters(self._account.lab.id, ports)
            self._filters = ports

    def _ports(self, region: Any) -> Iterator[bridges.Port]:
        members: dict[str, list[str]] = {}
        for nic in region.enis.values():
            for group in nic.group_set:
                members.setdefault(group.id, []).extend(one["PrivateIpAddress"] for one in nic.private_ip_addresses)
        for nic in region.enis.values():
            if nic.instance:
                groups = sorted(nic.group_set, key=lambda group: str(group.id))
                incoming = tuple(_openings((rule for group in groups for rule in group.ingress_rules), members))
                outgoing = tuple(_openings((rule for group in groups for rule in group.egress_rules), members))
                yield bridges.Port(self._account.cable(nic.id), incoming, outgoing or (_NOTHING,))


class Router:
    """The router of a VPC: a network namespace with an interface to the VPC's bridge and one to the public bridge."""

    def __init__(self, account: Account, vpc_id: str) -> None:
        self._lab, self._public = account.lab.id, account.public
        self._bridge = f"{self._lab}n{account.number(vpc_id)}"
        self._name = f"{self._lab}-{account.number(vpc_id)}"
        self._plan: Plan | None = None
        bridges.add_bridge(self._bridge)
        host.call("ip", "netns", "add", self._name)
        cables = {"net": (account.cable(vpc_id), self._bridge), "pub": (account.cable(f"{vpc_id} public"), self._lab)}
        for name, (cable, bridge) in cables.items():
            host.call("ip", "link", "add", cable, "type", "veth", "peer", "name", name, "netns", self._name)
            host.call("ip", "link", "set", cable, "master", bridge, "up")
            self._inside("ip", "link", "set", name, "up")
        # No redirects: in the real cloud there is no direct path between machines.
        settings = ("ip_forward=1", "conf.all.send_redirects=0", "conf.net.send_redirects=0")
        self._inside("sysctl", "-q", "-w", *(f"net.ipv4.{setting}" for setting in settings))

    def follow(self, plan: Plan) -> None:
        """Apply the plan."""
        before, self._plan = self._plan or Plan(), plan
        if plan == before:
            return
        self._addresses("net", before.addresses, plan.addresses)
        # One by one: removing an address also removes the others of its network.
        self._addresses("pub", [f"{one}/32" for one in before.shown], [f"{one}/32" for one in plan.shown])
        if plan.shown:  # the routes vanish with the last address
            self._inside("ip", "route", "replace", str(self._public), "dev", "pub")
            self._inside("ip", "route", "replace", "default", "via", str(self._public[1]))
        self._inside("nft", "-f", "-", stdin=_rules(plan))

    def remove(self) -> None:
        """Remove it and the bridge."""
        host.call("ip", "netns", "delete", self._name, check=False)
        bridges.remove_bridge(self._bridge)

    def _addresses(self, card: str, before: list[str], now: list[str]) -> None:
        for address in before:
            if address not in now:
                self._inside("ip", "address", "delete", address, "dev", card)
        for address in now:
            if address not in before:
                self._inside("ip", "address", "add", address, "dev", card)

    def _inside(self, *argv: str, stdin: str | None = None) -> None:
        host.call("ip", "netns", "exec", self._name, *argv, stdin=stdin)


def _plan(region: Any, vpc: Any, nics: Iterable[Any]) -> Plan:
    plan = Plan()
    ways: dict[str, list[Any]] = {}
    subnets = (subnet for zone in region.subnets.values() for subnet in zone.values() if subnet.vpc_id == vpc.id)
    for subnet in sorted(subnets, key=lambda one: str(one.cidr_block)):
        network = ipaddress.IPv4Network(subnet.cidr_block)
        plan.addresses.append(f"{network[1]}/{network.prefixlen}")
        ways[subnet.id] = _routes(region, subnet)
        for route in ways[subnet.id]:
            if (route.gateway_id or "").startswith("igw-"):
                plan.out.append((str(network), route.destination_cidr_block))
            elif route.nat_gateway and route.nat_gateway.state == "available":
                public = next((one.get("publicIp") for one in route.nat_gateway.address_set), None)
                if public:
                    plan.out.append((str(network), route.destination_cidr_block))
                    plan.nat.append((str(network), route.destination_cidr_block, public))
    for nic in nics:
        leads_out = any((route.gateway_id or "").startswith("igw-") for route in ways.get(nic.subnet_id, ()))
        if nic.instance and nic.public_ip and leads_out:
            plan.public[nic.public_ip] = nic.private_ip_address
    return plan


def _routes(region: Any, subnet: Any) -> list[Any]:
    """The routes of a subnet: from its own table, or from the main table of its VPC."""
    tables = [table for table in region.route_tables.values() if table.vpc_id == subnet.vpc_id]
    for table in sorted(tables, key=lambda one: one.main_association_id is not None):
        if table.main_association_id or any(one.get("SubnetId") == subnet.id for one in table.associations):
            return [route for route in table.routes if route.destination_cidr_block]
    return []


def _rules(plan: Plan) -> str:
    inward = ", ".join(f"{public} : {private}" for public, private in sorted(plan.public.items()))
    outward = ", ".join(f"{private} : {public}" for public, private in sorted(plan.public.items()))
    before = [f"dnat to ip daddr map {{ {inward} }}"] if inward else []
    after = [f'oifname "pub" snat to ip saddr map {{ {outward} }}'] if outward else []
    # A machine that calls a neighbour by its public address also gets its own public address as the source.
    after += [f'iifname "net" oifname "net" ct status dnat snat to ip saddr map {{ {outward} }}'] if outward else []
    after += [f'oifname "pub" ip saddr {net} ip daddr {there} snat to {public}' for net, there, public in plan.nat]
    natted = {net for net, _, _ in plan.nat}
    private = f"ip saddr {{ {', '.join(sorted(plan.public.values()))} }} " if plan.public else None
    passing = ["ct state established,related accept", 'iifname "net" oifname "net" accept', 'iifname "pub" accept']
    for net, there in plan.out:
        if net in natted:
            passing.append(f'oifname "pub" ip saddr {net} ip daddr {there} accept')
        elif private:
            passing.append(f'oifname "pub" {private}ip saddr {net} ip daddr {there} accept')
    chains = {
        "before": ("type nat hook prerouting priority -100", before),
        "after": ("type nat hook postrouting priority 100", after),
        "passing": ("type filter hook forward priority 0", [*passing, "drop"]),
    }
    text = "add table ip vpc\ndelete table ip vpc\ntable ip vpc {\n"
    for name, (hook, rules) in chains.items():
        text += (
            f"  chain {name} {{\n    {hook}; policy accept;\n" + "".join(f"    {rule}\n" for rule in rules) + "  }\n"
        )
    return text + "}\n"


def _openings(rules: Iterable[Any], members: dict[str, list[str]]) -> Iterator[bridges.Opening]:
    for rule in rules:
        peers = tuple(one for one in (rule.cidr_ipv4, rule.cidr_ipv6) if one)
        peers += tuple(members.get(rule.source_group.get("GroupId", ""), ()))
        first, last = rule.from_port, rule.to_port
        if rule.ip_protocol == "-1":
            yield from (bridges.Opening(protocol, None, peers) for protocol in ("tcp", "udp", "icmp"))
        elif rule.ip_protocol in ("tcp", "udp"):
            everything = (first, last) in ((0, 65535), (-1, -1))
            yield bridges.Opening(rule.ip_protocol, None if everything else f"{first}-{last}", peers)
        else:
            yield bridges.Opening("icmp", None, peers)
