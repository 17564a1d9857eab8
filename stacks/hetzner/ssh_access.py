"""The ssh access to machines that filter ssh themselves: whether they still admit this update."""

from collections.abc import Mapping
from typing import Any

from components.guard import OUTPUT as APPLIED
from components.plan.errors import Problem
from components.plan.hetzner import HetznerPlan
from components.plan.hetzner_ssh import MADE, SshAccess, check_ssh_access, read_ssh_access, ssh_access

from ..ssh_settings import Operator

OUTPUT = "ssh_access"
"""The stack's output that the next update is compared with."""
NEEDS = (OUTPUT, "bastion")
"""The outputs of the last update that `check` reads, besides those of the guard."""
_KEY, _OPERATORS = "hetzner.bastion", "hetzner.operators"


def of(plan: HetznerPlan, operator: Operator) -> SshAccess:
    """the desired ssh access."""
    return ssh_access(plan, "" if operator.bastion is None else operator.bastion.host)


def check(plan: HetznerPlan, operator: Operator, last: Mapping[str, Any]) -> list[Problem]:
    """Why the machines would not admit ssh from this update; empty if they would.

    Args:
        plan: the desired state.
        operator: the operator.
        last: outputs of the last update.
    """
    wanted = of(plan, operator)
    if not last.get(APPLIED):
        return []
    if OUTPUT not in last:
        return _unknown(made=wanted.through == MADE, before="bastion" in last)
    return check_ssh_access(read_ssh_access(last[OUTPUT]), plan, wanted, _KEY, _OPERATORS)


def _unknown(*, made: bool, before: bool) -> list[Problem]:
    """Why a bastion cannot be added or removed right after an update that has not recorded the ssh access."""
    if made == before:
        return []
    rule = (
        "The last update was made by an older program, which did not record from where the machines accept ssh: with "
        "another way in, you may be locked out"
    )
    return [Problem(_KEY, "one" if made else "nothing", rule, "Set it back, run pulumi up, then make this change")]
