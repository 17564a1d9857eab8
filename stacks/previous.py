"""What the last update of this stack that succeeded left in its outputs."""

from collections.abc import Mapping
from typing import Any

from components.change import previous_outputs as previous

__all__ = ["last_generations", "previous"]


def last_generations(last: Mapping[str, Any]) -> dict[str, int]:
    """Slot -> generation in the last update; empty before the first."""
    # Numbers come back as floats.
    return {slot: int(generation) for slot, generation in last.get("generations", {}).items()}
