"""Hetzner's information about a server type."""

import re

import pulumi
import pulumi_hcloud as hcloud

from ..machine_types import MachineType
from ..plan.sizes import GIB

# The provider's error for an unknown type.
_UNKNOWN = re.compile(r"Resource \(server type\) was not found")


def machine_type(type_: str, opts: pulumi.InvokeOptions | None = None) -> MachineType:
    """Hetzner's answer about a server type."""
    try:
        found = hcloud.get_server_type(name=type_, opts=opts)
    except Exception as error:  # any error of the engine or the provider
        return MachineType(error, {} if _UNKNOWN.search(str(error)) else error)
    return MachineType(found.memory * GIB, {each.name: each.available for each in found.locations})
