"""Hetzner Cloud: the ranges from which a machine's own firewall admits ssh, and whether an update can still log in.

New rules reach a machine over ssh, so an update that changes ssh access still meets the rules of the last update. If
these do not admit the new way, the operator is locked out before the new rules arrive.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import ranges
from .errors import Problem
from .firewall_rules import SSH_PORT, member_rules, outside
from .hetzner import HetznerPlan

MADE = "made"
"""Stands for a created bastion."""


@dataclass(frozen=True)
class SshAccess:
    """How ssh reaches the machines of a cluster, and from where they admit it."""

    through: str
    """`made`, the host of an existing bastion, or empty: directly."""
    admitted: tuple[str, ...]
    """Ranges from which the machines admit ssh."""

    def data(self) -> dict[str, Any]:
        """As plain data for a stack output."""
        return {"through": self.through, "admitted": list(self.admitted)}


def ssh_access(plan: HetznerPlan, other_bastion: str = "") -> SshAccess:
    """The ssh access of a plan without problems.

    Args:
        other_bastion: host of an existing bastion; empty: none.
    """
    through = MADE if plan.bastion is not None else other_bastion
    sources = list(plan.operators)
    if not through:
        # Hetzner's firewall alone protects the public address. Otherwise an operator with a new address could open that
        # firewall and would still be locked out by the machine's own.
        sources += outside(plan.network_range)
    subnet = ranges.parse_range(plan.subnet_range)
    if isinstance(subnet, ipaddress.IPv4Network) and (not through or through == MADE):
        # Even without a bastion, so that machines admit one that is added later. With a bastion, operators are admitted
        # too, so that they can log in after it is removed.
        bastion = plan.bastion_address or str(subnet[5])
        sources += [] if bastion in plan.addresses.values() else [bastion]
    rules = member_rules([], operators=sources, clients=[], metrics=[])
    return SshAccess(through, tuple(rules[str(SSH_PORT)]))


def read_ssh_access(data: Mapping[str, Any]) -> SshAccess:
    """The ssh access from the output of the last update."""
    return SshAccess(str(data["through"]), tuple(data["admitted"]))


def check_ssh_access(
    before: SshAccess, plan: HetznerPlan, wanted: SshAccess, bastion: str, operators: str
) -> list[Problem]:
    """Why machines with the rules of the last update would not admit this update; empty when they do.

    Args:
        before: the ssh access of the last update.
        wanted: their ssh access.
        bastion: the key of the bastion's object.
        operators: the key of the list of operators.
    """
    if wanted.through == MADE:
        key, comes = f"{bastion}.address", [plan.bastion_address or ""]
    elif wanted.through != before.through:
        key, comes = operators, list(plan.operators)
    else:
        return []
    shut_out = ", ".join(each for each in comes if not _admits(before.admitted, each))
    if not shut_out:
        return []
    rule = (
        "The rules of the last update must already admit the new way to the machines over ssh, and they do not: you "
        "would be locked out"
    )
    remedy = f"Leave the bastion as it was, add {shut_out} to {operators} and run pulumi up; then make this change"
    return [Problem(key, shut_out, rule, remedy)]


def _admits(admitted: tuple[str, ...], wanted: str) -> bool:
    range_ = ranges.parse_range(wanted)
    if range_ is None:
        return False
    known = [found for each in admitted if (found := ranges.parse_range(each)) is not None]
    return any(found.version == range_.version and range_.subnet_of(found) for found in known)  # type: ignore[arg-type]
