"""The offer of the shed's keeper."""

from components.plan.sizes import GIB
from stacks.platform import Offer


def offer(type_: str) -> Offer:
    """A kind's memory, and where it is sold."""
    return Offer(4 * GIB, {"here": True} if type_ == "old" else {})
