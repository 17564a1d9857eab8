"""Fixtures of the tests on real machines."""

from tests.support.machines import machines

__all__ = ["machines"]
