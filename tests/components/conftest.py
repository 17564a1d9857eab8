"""Component tests may bring their own CA."""

from tests.support.authority import own_authority

__all__ = ["own_authority"]
