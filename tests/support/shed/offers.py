"""What the keeper of the shed says."""

from components.plan.sizes import GIB
from stacks.platform import Offer


def offer(type_: str) -> Offer:
    """What is sold of a kind."""
    return Offer(4 * GIB, {"here": True} if type_ == "old" else {})
