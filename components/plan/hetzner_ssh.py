"""Hetzner Cloud: from where a machine lets ssh in by its own rules, and whether an update finds that way open.

The rules of a machine come over ssh: in an update that changes the way in, ssh still meets those of the last update. A
way that these do not admit would lock the operator out before the new rules are there.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import ranges
from .errors import Problem
from .firewall import SSH_PORT, member_rules, outside
from .hetzner import HetznerPlan

MADE = "made"
"""Stands for a bastion that is made here."""


@dataclass(frozen=True)
class WayIn:
    """How ssh reaches the machines of a cluster, and what they let in."""

    through: str
    """`made`, host of the bastion that exists, or empty: directly."""
    admitted: tuple[str, ...]
    """Ranges from which the machines let ssh in."""

    def data(self) -> dict[str, Any]:
        """As plain data for an output."""
        return {"through": self.through, "admitted": list(self.admitted)}


def way_in(plan: HetznerPlan, other_bastion: str = "") -> WayIn:
    """The way that a plan without problems has.

    Args:
        plan: what is wanted.
        other_bastion: host of the bastion that exists, through which the machines are reached; empty: none does.
    """
    through = MADE if plan.bastion is not None else other_bastion
    sources = list(plan.operators)
    if not through:
        # Who comes to the public address is the firewall of Hetzner's business alone. Else an operator whose address
        # has changed could open that one, and would stand before the machine's own.
        sources += outside(plan.network_range)
    subnet = ranges.parse_range(plan.subnet_range)
    if isinstance(subnet, ipaddress.IPv4Network) and (not through or through == MADE):
        # Also where there is no bastion yet, so that the machines know it when it comes; and beside one the operators,
        # who need a way in when it goes.
        bastion = plan.bastion_address or str(subnet[5])
        sources += [] if bastion in plan.addresses.values() else [bastion]
    rules = member_rules([], operators=sources, clients=[], metrics=[])
    return WayIn(through, tuple(rules[str(SSH_PORT)]))


def read_way_in(data: Mapping[str, Any]) -> WayIn:
    """The way that the last update has left in its output."""
    return WayIn(str(data["through"]), tuple(data["admitted"]))


def check_way_in(before: WayIn, plan: HetznerPlan, wanted: WayIn, bastion: str, operators: str) -> list[Problem]:
    """Why the machines of the last update would not let in who comes on the way of this one; empty when they do.

    Args:
        before: what the last update has left.
        plan: what is wanted.
        wanted: its way.
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
        "The machines get new rules of who may log in over ssh, so the way there must be open by the rules of the last "
        "update, and these do not admit it: you would be locked out"
    )
    remedy = f"Leave the bastion as it was, add {shut_out} to {operators} and run pulumi up; then make this change"
    return [Problem(key, shut_out, rule, remedy)]


def _admits(admitted: tuple[str, ...], wanted: str) -> bool:
    range_ = ranges.parse_range(wanted)
    if range_ is None:
        return False
    known = [found for each in admitted if (found := ranges.parse_range(each)) is not None]
    return any(found.version == range_.version and range_.subnet_of(found) for found in known)  # type: ignore[arg-type]
