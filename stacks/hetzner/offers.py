"""Hetzner's information about a server type."""

import re

import pulumi_hcloud as hcloud

from components.plan.sizes import GIB

from ..platform import Offer

# The provider's error for an unknown type.
_UNKNOWN = re.compile(r"Resource \(server type\) was not found")


def offer(type_: str) -> Offer:
    """Hetzner's answer about a server type."""
    try:
        found = hcloud.get_server_type(name=type_)
    except Exception as error:  # any error of the engine or the provider
        return Offer(error, {} if _UNKNOWN.search(str(error)) else error)
    return Offer(found.memory * GIB, {each.name: each.available for each in found.locations})
