"""Names, addresses and URLs of members."""

import ipaddress
import re
from collections.abc import Sequence

from .errors import Problem, shown
from .quorum import tolerated

CLIENT_PORT = 2379
PEER_PORT = 2380
METRICS_PORT = 2381
MACHINE_METRICS_PORT = 2382
MAX_MEMBERS = 7

_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_RESERVED = ipaddress.ip_network("240.0.0.0/4")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


def url(address: str, port: int, scheme: str = "https") -> str:
    """The URL of an address; IPv6 in brackets."""
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}:{port}"


def check_name(name: object, key: str) -> list[Problem]:
    """Why this is not a DNS label (RFC 1123); empty when it is one."""
    if isinstance(name, str) and _LABEL.fullmatch(name):
        return []
    rule = "A name must be a DNS label: 1 to 63 of a-z, 0-9 and -, no - at either end"
    remedy = "Choose a name like etcd-1"
    if isinstance(name, str):
        candidate = re.sub(r"[^a-z0-9]+", "-", name.lower())[:63].strip("-")
        remedy = f"Write it as {candidate!r}" if candidate else remedy
    return [Problem(key, shown(name), rule, remedy)]


def check_address(address: object, key: str) -> list[Problem]:
    """Why this cannot be the address of a member; empty when it can."""
    remedy = "Set the private IP address at which the other members reach the machine"
    try:
        ip = ipaddress.ip_address(address if isinstance(address, str) else "")
    except ValueError:
        rule = "It must be an IPv4 or IPv6 address, without port or prefix length"
        return [Problem(key, shown(address), rule, remedy)]
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        rule = "An IPv4 address must not be written in IPv6 notation"
        return [Problem(key, shown(address), rule, f"Write {ip.ipv4_mapped}")]
    for holds, kind in (
        (ip.is_unspecified, "the unspecified address"),
        (ip.is_multicast, "a multicast address"),
        (ip.is_loopback, "a loopback address"),
        (ip.is_link_local, "a link-local address"),
        (ip in _THIS_NETWORK or ip in _RESERVED, "a reserved or broadcast address"),
    ):
        if holds:
            rule = f"The address of a machine must be reachable from the others; this is {kind}"
            return [Problem(key, shown(address), rule, remedy)]
    if str(ip) != address:
        rule = "An address must have its shortest form, because it is compared as text"
        return [Problem(key, shown(address), rule, f"Write {ip}")]
    return []


def check_members(members: Sequence[tuple[object, object]], key: str = "members") -> list[Problem]:
    """Why these cannot be the members of a cluster; empty when they can.

    Args:
        members: name and address of each, in order.
        key: the key of the list; problems have `key[index].name` or `key[index].address`.
    """
    problems = check_count(len(members), key)
    for field, position, check in (("name", 0, check_name), ("address", 1, check_address)):
        seen: dict[object, str] = {}
        for index, member in enumerate(members):
            at, value = f"{key}[{index}].{field}", member[position]
            problems += check(value, at)
            # The check above refuses unhashable values.
            first = seen.setdefault(value, at) if isinstance(value, str) else at
            if first != at:
                rule = f"Two members cannot have the same {field}; {first} is {shown(value)} too"
                problems.append(Problem(at, shown(value), rule, f"Give one of them another {field}"))
    return problems


def check_count(count: int, key: str) -> list[Problem]:
    """Why a cluster cannot have that many members; empty when it can."""
    if count % 2 == 1 and count <= MAX_MEMBERS:
        return []
    given = f"{count} members"
    if count == 0:
        rule = "A cluster must have 1, 3, 5 or 7 members"
        return [Problem(key, given, rule, "Configure three members to tolerate one failure")]
    if count > MAX_MEMBERS:
        rule = f"A cluster can have at most {MAX_MEMBERS} members, because each write waits for a majority of them"
        return [Problem(key, given, rule, "Configure 7 or, better, 5")]
    lost = f"{tolerated(count) or 'no'} failure{'' if tolerated(count) == 1 else 's'}"
    rule = f"The number of members must be odd: {count} tolerate {lost}, no more than {count - 1}"
    return [Problem(key, given, rule, f"Configure {count - 1} or {count + 1}")]
