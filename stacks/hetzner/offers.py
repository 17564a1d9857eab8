"""What Hetzner says of a server type."""

import re

import pulumi_hcloud as hcloud

from components.plan.sizes import GIB

from ..platform import Offer

# How the provider says that there is no such type.
_UNKNOWN = re.compile(r"Resource \(server type\) was not found")


def offer(type_: str) -> Offer:
    """What it says of a server type."""
    try:
        found = hcloud.get_server_type(name=type_)
    except Exception as error:  # whatever the engine or the provider makes of it
        return Offer(error, {} if _UNKNOWN.search(str(error)) else error)
    return Offer(found.memory * GIB, {each.name: each.available for each in found.locations})
