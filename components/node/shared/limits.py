"""How long a verb may take: on the machine, and before the operator's side ends its command."""

from __future__ import annotations

LOCK_SECONDS = 120.0
"""How long a verb waits for another one on its machine."""

DEADLINES = {
    "prepare": 300.0,
    "bootstrap": 60.0,
    "find": 180.0,
    "stage": 180.0,
    "restore": 120.0,
    "start": 60.0,
    "converge": 180.0,
    "health": 60.0,
    "retire": 90.0,
    "drain": 90.0,
    "status": 30.0,
    "drift": 60.0,
    "metrics": 30.0,
    "snapshot": 300.0,
    "drill": 300.0,
    "defragment": 300.0,
    "recover-space": 900.0,
    "maintain": 900.0,
    "inspect": 90.0,
    "reach": 30.0,
    "authority": 30.0,
    "switch": 540.0,
    "switch-back": 540.0,
    "leave": 180.0,
    "configure": 60.0,
    "back": 300.0,
    "stand-alone": 60.0,
    "retire-plane": 60.0,
}
"""Seconds that each verb may take once it has the machine's lock. It then reports what it was doing."""

# Steps whose duration depends on the size of the data extend the deadline: a snapshot of up to 8 GiB, a learner, a
# defragmentation that is waited for, a pull of etcd's image.
_MORE_SECONDS = {"prepare": 600.0, "converge": 3300.0, "stage": 3300.0, "health": 1800.0}
# For Python's start, and for the report.
_REPORT_SECONDS = 30.0


def killed_after(verb: str) -> int:
    """Seconds after which the verb's command is killed. The last resort: pulumi-command has no timeout."""
    return int(LOCK_SECONDS + DEADLINES[verb] + _MORE_SECONDS.get(verb, 0.0) + _REPORT_SECONDS)
