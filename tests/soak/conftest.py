"""As tests of the lab, these have the session's machines, and stacks under the real engine."""

from tests.support.machines import machines
from tests.support.stacks import stacks

__all__ = ["machines", "stacks"]
