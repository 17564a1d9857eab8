"""What the last update of this stack that succeeded left in its outputs."""

from collections.abc import Mapping
from typing import Any

from components.change import previous_outputs as previous
from components.plan.generations import check_generations

from .config import ConfigError, StackConfig

__all__ = ["allowed_generations", "previous"]


def allowed_generations(
    stack: StackConfig, last: Mapping[str, Any], wanted: Mapping[str, int], key: str
) -> dict[str, int]:
    """Slot -> generation in the last update, where the wanted ones may follow.

    Args:
        stack: the configuration.
        last: outputs of the last update.
        wanted: slot -> generation.
        key: the configuration's key of the list of slots.

    Raises:
        ConfigError: they may not.
    """
    # Numbers come back as floats.
    before = {slot: int(generation) for slot, generation in last.get("generations", {}).items()}
    if problems := check_generations(before, wanted, key):
        raise ConfigError(stack.cluster_name, problems)
    return before
