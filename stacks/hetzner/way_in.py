"""The way in to machines that filter ssh themselves: whether this update can still take it."""

from collections.abc import Mapping
from typing import Any

from components.change import OUTPUT as APPLIED
from components.plan.errors import Problem
from components.plan.hetzner import HetznerPlan
from components.plan.hetzner_ssh import MADE, WayIn, check_way_in, read_way_in, way_in

from ..ways import Operator

OUTPUT = "way_in"
"""The stack's output in which an update leaves what the next one is compared with."""
NEEDS = (OUTPUT, "bastion")
"""The outputs of the last update that `check` reads, beside that of the guard."""
_KEY, _OPERATORS = "hetzner.bastion", "hetzner.operators"


def of(plan: HetznerPlan, operator: Operator) -> WayIn:
    """The way that is wanted."""
    return way_in(plan, "" if operator.bastion is None else operator.bastion.host)


def check(plan: HetznerPlan, operator: Operator, last: Mapping[str, Any]) -> list[Problem]:
    """Why this update would come on a way to which the machines are closed; empty when it would not.

    Args:
        plan: what is wanted.
        operator: who logs in.
        last: outputs of the last update.
    """
    wanted = of(plan, operator)
    if not last.get(APPLIED):
        return []
    if OUTPUT not in last:
        return _unknown(made=wanted.through == MADE, before="bastion" in last)
    return check_way_in(read_way_in(last[OUTPUT]), plan, wanted, _KEY, _OPERATORS)


def _unknown(*, made: bool, before: bool) -> list[Problem]:
    """Why a bastion does not come or go right after an update by a program that noted no way in."""
    if made == before:
        return []
    rule = (
        "A way in is changed when the last update has noted whom the machines let in, and that was made by a program "
        "that did not: you may be locked out"
    )
    return [Problem(_KEY, "one" if made else "nothing", rule, "Set it back and run pulumi up; then make this change")]
