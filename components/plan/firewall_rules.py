"""Firewall rules of a member: the one source for cloud firewalls and the machines' own."""

import ipaddress
from collections.abc import Sequence

from .members import CLIENT_PORT, MACHINE_METRICS_PORT, METRICS_PORT, PEER_PORT
from .ranges import parse_range

SSH_PORT = 22
Firewall = dict[str, list[str]]
"""Port -> ranges with access, sorted; with an empty list, only the machine itself has access."""


def member_rules(
    members: Sequence[str],
    *,
    operators: Sequence[str] | None,
    clients: Sequence[str],
    metrics: Sequence[str],
    machine_metrics: bool = False,
) -> Firewall:
    """The rules for every member of a cluster.

    Args:
        members: private addresses of all members.
        operators: ranges with access to ssh, including that of a bastion. None: no rule for ssh.
        clients: ranges of etcd's clients, the control planes.
        metrics: ranges with access to metrics.
        machine_metrics: whether the machines serve their own metrics. Otherwise another program may have that port.
    """
    ssh = {} if operators is None else {str(SSH_PORT): _sorted(operators)}
    own = (MACHINE_METRICS_PORT,) if machine_metrics else ()
    return ssh | {
        str(CLIENT_PORT): _sorted([*members, *clients]),
        str(PEER_PORT): _sorted(members),
        **{str(port): _sorted([*members, *metrics]) for port in (METRICS_PORT, *own)},
    }


def outside(network: str) -> list[str]:
    """Ranges of all addresses outside that IPv4 network, including all of IPv6."""
    everywhere = ipaddress.IPv4Network("0.0.0.0/0")
    return [*map(str, everywhere.address_exclude(ipaddress.IPv4Network(network))), "::/0"]


def _sorted(sources: Sequence[str]) -> list[str]:
    """The ranges merged, in the order of addresses."""
    found = {range_ for text in sources if (range_ := parse_range(text)) is not None}
    kept: list[str] = []
    for version in (4, 6):
        same = [range_ for range_ in found if range_.version == version]
        kept += [str(range_) for range_ in ipaddress.collapse_addresses(same)]  # type: ignore[type-var]
    return kept
