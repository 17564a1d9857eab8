"""Names and addresses of members, and the URLs made of them."""

import ipaddress
import re
from collections.abc import Sequence

from .errors import Problem, shown
from .quorum import tolerated

CLIENT_PORT = 2379
PEER_PORT = 2380
METRICS_PORT = 2381
MAX_MEMBERS = 7

_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_RESERVED = ipaddress.ip_network("240.0.0.0/4")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


def url(address: str, port: int, scheme: str = "https") -> str:
    """A URL with the address as etcd wants it: IPv6 in brackets."""
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}:{port}"


def check_name(name: object, key: str) -> list[Problem]:
    """Why this is no DNS label of RFC 1123; empty when it is one."""
    if isinstance(name, str) and _LABEL.fullmatch(name):
        return []
    rule = "A name is a DNS label: 1 to 63 of a-z, 0-9 and -, no - at either end"
    remedy = "Choose a name like etcd-1"
    if isinstance(name, str):
        candidate = re.sub(r"[^a-z0-9]+", "-", name.lower())[:63].strip("-")
        remedy = f"Write it as {candidate!r}" if candidate else remedy
    return [Problem(key, shown(name), rule, remedy)]


def check_address(address: object, key: str) -> list[Problem]:
    """Why other machines cannot reach a member at this address; empty when they can."""
    remedy = "Give the private IP address of the machine, as the other members reach it"
    try:
        ip = ipaddress.ip_address(address if isinstance(address, str) else "")
    except ValueError:
        return [
            Problem(key, shown(address), "An address is an IPv4 or IPv6 address, without port or prefix length", remedy)
        ]
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        rule = "An address is not an IPv4 address in IPv6 notation"
        return [Problem(key, shown(address), rule, f"Write {ip.ipv4_mapped}")]
    for holds, kind in (
        (ip.is_unspecified, "the unspecified address"),
        (ip.is_multicast, "a multicast address"),
        (ip.is_loopback, "a loopback address"),
        (ip.is_link_local, "a link-local address"),
        (ip in _THIS_NETWORK or ip in _RESERVED, "a reserved or broadcast address"),
    ):
        if holds:
            rule = f"An address belongs to one machine and is reached from the others; this is {kind}"
            return [Problem(key, shown(address), rule, remedy)]
    if str(ip) != address:
        rule = "An address is written in its shortest form, because it is compared as text"
        return [Problem(key, shown(address), rule, f"Write {ip}")]
    return []


def check_members(members: Sequence[tuple[object, object]], key: str = "members") -> list[Problem]:
    """Why these cannot be the members of one cluster; empty when they can.

    Args:
        members: name and address of each, in order.
        key: the key of the list; the problems of a member are at `key[index].name` and `key[index].address`.
    """
    problems = check_count(len(members), key)
    for field, position, check in (("name", 0, check_name), ("address", 1, check_address)):
        seen: dict[object, str] = {}
        for index, member in enumerate(members):
            at, value = f"{key}[{index}].{field}", member[position]
            problems += check(value, at)
            # Unhashable values are refused by the check above.
            first = seen.setdefault(value, at) if isinstance(value, str) else at
            if first != at:
                rule = f"No two members have the same {field}; {first} is {shown(value)} too"
                problems.append(Problem(at, shown(value), rule, f"Give each member {field_article(field)} of its own"))
    return problems


def field_article(field: str) -> str:
    """`a name`, `an address`."""
    return f"{'an' if field[0] in 'aeiou' else 'a'} {field}"


def check_count(count: int, key: str) -> list[Problem]:
    """Why a cluster does not have that many members; empty when it may."""
    if count % 2 == 1 and count <= MAX_MEMBERS:
        return []
    given = f"{count} members"
    if count == 0:
        return [
            Problem(key, given, "A cluster has 1, 3, 5 or 7 members", "State three machines to stand the loss of one")
        ]
    if count > MAX_MEMBERS:
        rule = f"A cluster has at most {MAX_MEMBERS} members, because each write waits for a majority of them"
        return [Problem(key, given, rule, "State 7 or, better, 5")]
    rule = f"The number of members is odd: {count} stand the loss of {tolerated(count)}, no more than {count - 1} do"
    return [Problem(key, given, rule, f"State {count - 1} or {count + 1}")]
