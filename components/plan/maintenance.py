"""What machines do by themselves about the size of the database, and the rule for it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from .errors import Problem, shown

IN_USE_PERCENT, QUOTA_PERCENT = 50, 25
"""The rule's defaults. Etcd's own alert for a fragmented database has the same 50."""


@dataclass(frozen=True)
class MaintenancePlan:
    """By default machines do nothing by themselves."""

    defragment: bool = False
    """Whether each member is defragmented when the rule says so, one at a time, the leader last."""
    in_use_percent: int = IN_USE_PERCENT
    """The rule: at most this share of the database file is in use."""
    quota_percent: int = QUOTA_PERCENT
    """And the file has at least this share of the quota."""
    recover_space: bool = False
    """Whether a full database (alarm NOSPACE) is compacted and defragmented, and the alarm disarmed."""

    def data(self) -> dict[str, Any]:
        """For the specification; empty by default."""
        return {} if self == MaintenancePlan() else {"maintenance": asdict(self)}


def check_maintenance(plan: MaintenancePlan, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Why this is not valid; empty when it is.

    Args:
        spelled: the user's spelling of an argument, for the keys of the problems.
    """
    key, problems = spelled("maintenance"), []
    for name in ("in_use_percent", "quota_percent"):
        value = getattr(plan, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 99:
            rule = "A share must be a whole number of percent, from 1 to 99"
            problems.append(Problem(f"{key}.{spelled(name)}", shown(value), rule, "Set one, or remove it"))
    return problems
