"""Checks of address ranges: notation, size, overlaps, containment."""

import ipaddress
from collections.abc import Sequence
from itertools import combinations

from .errors import Problem, shown

Range = ipaddress.IPv4Network | ipaddress.IPv6Network

_PRIVATE = tuple(ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


def parse_range(text: object) -> Range | None:
    """The range, or None when the text is not one; a single address is a range of one address."""
    try:
        return ipaddress.ip_network(text if isinstance(text, str) else "")
    except ValueError:
        return None


def check_range(text: object, key: str) -> list[Problem]:
    """Why this is not an address range; empty when it is one."""
    if parse_range(text) is not None:
        return []
    rule = "A range must be written address/length, with no bit of the address set beyond the length"
    try:
        remedy = f"Write {ipaddress.ip_network(text if isinstance(text, str) else '', strict=False)}"
    except ValueError:
        remedy = "Write it like 10.1.0.0/16"
    return [Problem(key, shown(text), rule, remedy)]


def check_private_range(text: object, key: str, *, longest: int) -> list[Problem]:
    """Why this cannot be the range of a private IPv4 network; empty when it can.

    Args:
        text: the range.
        key: the key that holds it.
        longest: the longest allowed prefix, that is the smallest network.
    """
    problems = check_range(text, key)
    found = parse_range(text)
    if found is None:
        return problems
    if not isinstance(found, ipaddress.IPv4Network) or not any(found.subnet_of(each) for each in _PRIVATE):
        rule = "A private network must be in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
        return [Problem(key, shown(text), rule, "Choose a range like 10.1.0.0/16")]
    if found.prefixlen > longest:
        rule = f"The range must be /{longest} or larger"
        return [Problem(key, shown(text), rule, f"Choose one like {found.supernet(new_prefix=longest)}")]
    return []


def check_inside(inner: object, outer: object, key: str, outer_key: str) -> list[Problem]:
    """Why the inner range is not in the outer one; empty when it is, or when one of them is not a range."""
    small, large = parse_range(inner), parse_range(outer)
    if not isinstance(small, ipaddress.IPv4Network) or not isinstance(large, ipaddress.IPv4Network):
        return []
    if small.subnet_of(large):
        return []
    rule = f"The subnet must be in the range of its network, {outer_key}: {large}"
    return [Problem(key, shown(inner), rule, "Choose a part of that range, or a larger range for the network")]


def check_overlaps(ranges: Sequence[tuple[str, object]]) -> list[Problem]:
    """Which ranges overlap.

    Args:
        ranges: key and text of each; texts that are not ranges are ignored.
    """
    known = [(key, text, range_) for key, text in ranges if (range_ := parse_range(text)) is not None]
    problems = []
    for (first_key, first_text, first), (key, text, range_) in combinations(known, 2):
        if first.version == range_.version and first.overlaps(range_):
            rule = f"Ranges must not overlap; {first_key} is {first_text}"
            problems.append(Problem(key, shown(text), rule, "Choose another range"))
    return problems


def check_sources(texts: Sequence[object], key: str, *, ports: str, world: bool, world_key: str) -> list[Problem]:
    """Why these ranges cannot have access to some ports; empty when they can.

    Args:
        texts: ranges or addresses.
        key: the key of the list.
        ports: the ports, for the message.
        world: the user allowed access from everywhere.
        world_key: the key that allows it.
    """
    problems = []
    for index, text in enumerate(texts):
        at = f"{key}[{index}]"
        problems += check_range(text, at)
        found = parse_range(text)
        if found is not None and found.prefixlen == 0 and not world:
            rule = f"{text} is the whole internet, which must not reach {ports} by accident"
            remedy = f"Set only the ranges that need access; if you mean it, set {world_key} to true"
            problems.append(Problem(at, shown(text), rule, remedy))
    return problems
