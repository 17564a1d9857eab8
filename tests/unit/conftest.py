"""Unit tests may bring a certificate authority of their own."""

from tests.support.authority import own_authority

__all__ = ["own_authority"]
