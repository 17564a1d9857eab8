"""Who may reach which port of a member: the one list from which cloud firewalls and the machines' own are made."""

import ipaddress
from collections.abc import Sequence

from .addresses import CLIENT_PORT, METRICS_PORT, PEER_PORT
from .ranges import parse_range

SSH_PORT = 22
Firewall = dict[str, list[str]]
"""Port -> ranges that may reach it, sorted; a port with an empty list is closed to all but the machine itself."""


def member_rules(
    members: Sequence[str], *, operators: Sequence[str] | None, clients: Sequence[str], metrics: Sequence[str]
) -> Firewall:
    """The rules for every member of one cluster.

    Args:
        members: private addresses of all members.
        operators: ranges from which ssh comes, that of a bastion included. None: ssh is left alone.
        clients: ranges of those who use etcd: the control planes.
        metrics: ranges of those who read metrics.
    """
    ssh = {} if operators is None else {str(SSH_PORT): _sorted(operators)}
    return ssh | {
        str(CLIENT_PORT): _sorted([*members, *clients]),
        str(PEER_PORT): _sorted(members),
        str(METRICS_PORT): _sorted([*members, *metrics]),
    }


def outside(network: str) -> list[str]:
    """Every address that is not in that private IPv4 network."""
    everywhere = ipaddress.IPv4Network("0.0.0.0/0")
    return [*map(str, everywhere.address_exclude(ipaddress.IPv4Network(network))), "::/0"]


def _sorted(sources: Sequence[str]) -> list[str]:
    """As ranges, without those that another one contains, in the order of addresses."""
    found = {range_ for text in sources if (range_ := parse_range(text)) is not None}
    kept: list[str] = []
    for version in (4, 6):
        same = [range_ for range_ in found if range_.version == version]
        kept += [str(range_) for range_ in ipaddress.collapse_addresses(same)]  # type: ignore[type-var]
    return kept
