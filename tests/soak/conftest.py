"""These tests use the session's machines and stacks with the real engine, like those of tests/lab."""

from tests.support.machines import machines
from tests.support.stacks import stacks

__all__ = ["machines", "stacks"]
