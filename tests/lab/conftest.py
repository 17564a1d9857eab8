"""Every lab test has the session's machines, and stacks with the real engine."""

from tests.support.authority import own_authority
from tests.support.bootstrapped import bootstrapped
from tests.support.machines import machines
from tests.support.stacks import stacks

__all__ = ["bootstrapped", "machines", "own_authority", "stacks"]
