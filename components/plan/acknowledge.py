"""What a user can accept although it is slower than etcd requires."""

from collections.abc import Sequence

from ..node.machine.measured import SLOW_DISK, SLOW_LINK
from .errors import Problem, did_you_mean, shown

ACKNOWLEDGED = {
    SLOW_DISK: "the disk of a data directory",
    SLOW_LINK: "the round trip between two members",
}


def check_acknowledge(given: Sequence[object], key: str = "acknowledge") -> list[Problem]:
    """Why these cannot be acknowledged; empty when they can."""
    problems = []
    for index, value in enumerate(given):
        at = f"{key}[{index}]"
        if value not in ACKNOWLEDGED:
            remedy = did_you_mean(str(value), ACKNOWLEDGED) or "Set one of them, or remove it"
            problems.append(Problem(at, shown(value), f"It must be one of {', '.join(ACKNOWLEDGED)}", remedy))
        elif value in given[:index]:
            problems.append(Problem(at, shown(value), "It must be listed once", "Remove one of the two"))
    return problems
