"""The pack: all policies, and their name for Pulumi."""

from pulumi_policy import EnforcementLevel, Policy, PolicyPack

from .access import ACCESS
from .certificates import LIFETIMES
from .data import ENCRYPTION, PROTECTION
from .machines import FIREWALL, METADATA
from .members import ODD, ONE_BY_ONE

NAME = "external-etcd"
LEVEL = EnforcementLevel.MANDATORY
"""The level of every policy that the configuration does not change."""
POLICIES: list[Policy] = [ACCESS, FIREWALL, ENCRYPTION, PROTECTION, METADATA, LIFETIMES, ODD, ONE_BY_ONE]


def serve() -> None:
    """Serve the policies until Pulumi ends."""
    PolicyPack(NAME, POLICIES, LEVEL)
