"""The way in to machines that filter ssh themselves: whether this update can still take it."""

from collections.abc import Mapping
from typing import Any

from components.change import OUTPUT as APPLIED
from components.plan.errors import Problem
from components.plan.hetzner_ssh import MADE, WayIn, check_way_in, read_way_in, way_in

from . import hetzner_config
from .config import ConfigError, StackConfig

OUTPUT = "way_in"
"""The stack's output in which an update leaves what the next one is compared with."""
NEEDS = (OUTPUT, "bastion")
"""The outputs of the last update that `check` reads, beside that of the guard."""


def of(stack: StackConfig) -> WayIn | None:
    """The way that is wanted; None where machines do not filter ssh."""
    if stack.hetzner is None:
        return None
    return way_in(stack.hetzner.plan, "" if stack.bastion is None else stack.bastion.host)


def check(stack: StackConfig, last: Mapping[str, Any]) -> None:
    """Refuses an update that would come on a way to which the machines are closed.

    On AWS security groups alone decide, which change without the machines; on machines that exist nobody filters ssh.

    Args:
        stack: the configuration.
        last: outputs of the last update.

    Raises:
        ConfigError: they are closed to it.
    """
    wanted = of(stack)
    if wanted is None or stack.hetzner is None or not last.get(APPLIED):
        return
    bastion, operators = (hetzner_config.spelled(name) for name in ("bastion", "operators"))
    if OUTPUT not in last:
        problems = _unknown(bastion, made=wanted.through == MADE, before="bastion" in last)
    else:
        problems = check_way_in(read_way_in(last[OUTPUT]), stack.hetzner.plan, wanted, bastion, operators)
    if problems:
        raise ConfigError(stack.cluster_name, problems)


def _unknown(key: str, *, made: bool, before: bool) -> list[Problem]:
    """Why a bastion does not come or go right after an update by a program that noted no way in."""
    if made == before:
        return []
    rule = (
        "A way in is changed when the last update has noted whom the machines let in, and that was made by a program "
        "that did not: you may be locked out"
    )
    return [Problem(key, "one" if made else "nothing", rule, "Set it back and run pulumi up; then make this change")]
