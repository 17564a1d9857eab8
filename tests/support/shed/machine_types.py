"""The offer of the shed's keeper."""

from components.machine_types import MachineType
from components.plan.sizes import GIB


def machine_type(type_: str) -> MachineType:
    """A kind's memory, and where it is sold."""
    return MachineType(4 * GIB, {"here": True} if type_ == "old" else {})
