"""The ssh access to machines that filter ssh themselves: whether they still admit this update."""

from collections.abc import Mapping
from typing import Any

from components.guard import OUTPUT as APPLIED
from components.plan.errors import Problem
from components.plan.hetzner import HetznerPlan
from components.plan.hetzner_ssh import MADE, SshAccess, check_ssh_access, read_ssh_access, ssh_access

from ..platform import BASTION
from ..ssh_settings import Operator

OUTPUT = "ssh_access"
"""The stack's output that the next update is compared with."""
_FILE = "machines_file"
NEEDS = (OUTPUT, BASTION, _FILE)
"""The outputs of the last update that `check` reads, besides those of the guard."""
_KEY, _OPERATORS = "hetzner.bastion", "hetzner.operators"


def of(plan: HetznerPlan, operator: Operator) -> SshAccess:
    """The desired ssh access."""
    return ssh_access(plan, "" if operator.bastion is None else operator.bastion.host)


def check(plan: HetznerPlan, operator: Operator, last: Mapping[str, Any]) -> list[Problem]:
    """Why the machines would not admit ssh from this update; empty if they would.

    Args:
        last: outputs of the last update.
    """
    wanted = of(plan, operator)
    if not last.get(APPLIED):
        return []
    if OUTPUT not in last:
        return _unrecorded(wanted.through, _through(last))
    return check_ssh_access(read_ssh_access(last[OUTPUT]), plan, wanted, _KEY, _OPERATORS)


def _through(last: Mapping[str, Any]) -> str:
    """`SshAccess.through` of a last update that has not recorded it."""
    if BASTION in last:
        return MADE
    ways = [machine["ssh"] for machine in last.get(_FILE, {}).get("machines", [])]
    return next((str(way["bastion"]["host"]) for way in ways if "bastion" in way), "")


def _unrecorded(wanted: str, before: str) -> list[Problem]:
    """Why ssh cannot take another way right after an update that has not recorded from where it is admitted.

    If it takes the same way, other operators need no comparison, as in `check_ssh_access`.
    """
    if wanted == before:
        return []
    made = MADE in (wanted, before)
    rule = (
        f"The last update did not record from where the machines accept ssh, and it reached them {_words(before)}: "
        "with another way in, you may be locked out"
    )
    remedy = f"Let ssh go {_words(before)} and run pulumi up, which records it; then make this change"
    return [Problem(_KEY if made else "ssh.bastion", _words(wanted), rule, remedy)]


def _words(through: str) -> str:
    if through == MADE:
        return f"through a bastion that is created here ({_KEY})"
    return f"through {through} (ssh.bastion)" if through else "directly (no bastion)"
