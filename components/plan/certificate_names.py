"""Extra names in certificates: DNS names and addresses besides a member's own."""

import ipaddress
import re
from collections.abc import Mapping, Sequence

from .errors import Problem, shown

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS = re.compile(rf"(\*\.(?=.*\.))?{_LABEL}(\.{_LABEL})*", re.ASCII)
_LONGEST = 253


def is_address(name: str) -> bool:
    """Whether this is an IP address; else it is a DNS name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """DNS names and IP addresses, both in the given order."""
    return [name for name in names if not is_address(name)], [name for name in names if is_address(name)]


def check_extra_names(
    members: Sequence[tuple[str, str, Sequence[str]]],
    shared: Sequence[str],
    key: str = "members",
    field: str = "extra_names",
) -> list[Problem]:
    """Why certificates cannot have these names; empty when they can.

    Args:
        members: name, address and extra names of each member, in order.
        shared: extra names of all server certificates.
        key: the key of the list of members.
        field: the key of extra names, of a member and of the cluster.
    """
    taken = {own: name for name, address, _ in members for own in (name, address)}
    problems = _check(shared, field, taken, "")
    for index, (name, _, extra) in enumerate(members):
        problems += _check(extra, f"{key}[{index}].{field}", taken, name)
        # No other member may present a certificate with the name of this one.
        taken |= {each: name for each in extra if isinstance(each, str)}
    return problems


def _check(names: Sequence[object], at: str, taken: Mapping[str, str], member: str) -> list[Problem]:
    problems = []
    seen: set[object] = set()
    for index, name in enumerate(names):
        found = _refusal(name) or _conflict(name, taken, member)
        if not found and name in seen:
            found = ("A name must not be in a list twice", "Remove one of the two")
        seen.add(name)
        if found:
            problems.append(Problem(f"{at}[{index}]", shown(name), *found))
    return problems


def _refusal(name: object) -> tuple[str, str] | None:
    rule = "A name in a certificate must be an IP address or a DNS name in lower case, which can begin with *."
    if not isinstance(name, str):
        return rule, "Write it like etcd.example.com or 10.0.0.5"
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        # Some software takes any name that ends with a number for an address.
        if len(name) <= _LONGEST and _DNS.fullmatch(name) and not name.rpartition(".")[2].isdigit():
            return None
        return rule, "Write it like etcd.example.com or 10.0.0.5, without scheme, port or final dot"
    if address.is_unspecified or address.is_multicast:
        return "An address in a certificate must belong to one machine", "Remove it"
    if str(address) != name:
        return "An address must have its shortest form, because it is compared as text", f"Write {address}"
    return None


def _conflict(name: object, taken: Mapping[str, str], member: str) -> tuple[str, str] | None:
    if name in ("localhost", "127.0.0.1"):
        return "Every server certificate has localhost and 127.0.0.1 anyway", "Remove it"
    owner = taken.get(str(name))
    if owner is None:
        return None
    if owner == member:
        return f"The certificates of {member} have its own name and address anyway", "Remove it"
    rule = f"It belongs to {owner}, and a certificate with it would be valid for that member"
    return rule, "Set names of all members for the whole cluster, and any other name for one member"
