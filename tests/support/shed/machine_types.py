"""The offer of the shed's keeper."""

from components.plan.sizes import GIB
from stacks.platform import MachineType


def machine_type(type_: str) -> MachineType:
    """A kind's memory, and where it is sold."""
    return MachineType(4 * GIB, {"here": True} if type_ == "old" else {})
