"""What the last update of this stack that succeeded left in its outputs."""

from collections.abc import Mapping
from typing import Any

import pulumi


async def previous(*names: str) -> dict[str, Any]:
    """Name -> value of those outputs that there are; empty before the first update. Nothing of it is an `Output`:
    what is compared with it is refused before anything is registered.

    An update that fails leaves the outputs as they were.

    Args:
        names: the outputs wanted.
    """
    own = pulumi.StackReference(f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}")
    found = {}
    for name in names:
        details = await own.get_output_details(name)
        value = details.value if details.secret_value is None else details.secret_value
        if value is not None:
            found[name] = value
    return found


def last_generations(last: Mapping[str, Any]) -> dict[str, int]:
    """Slot -> generation in the last update; empty before the first."""
    # Numbers come back as floats.
    return {slot: int(generation) for slot, generation in last.get("generations", {}).items()}
