"""Where the machine of a slot comes from, and on what it stands: with another value of any of it, it is another one.

Plain data (fact -> text), which an update leaves for the guard of the next. Two machines are compared in what is known
of both, so a fact that is added here is no change of a machine that an older program made.
"""

from collections.abc import Mapping

Origin = Mapping[str, str]
"""Fact -> its value, nothing of it secret; what each fact means, and what it decides, is in `guard.origins`."""

PLATFORM = "platform"
EXISTS: Origin = {PLATFORM: "hosts"}
"""A machine that Pulumi has not made."""
MADE = "made"
"""Stands for the ID of what Pulumi makes itself."""


def hetzner_network(*, network_id: int | None, network_range: str, subnet_range: str, zone: str) -> dict[str, str]:
    """What all machines of a cluster on Hetzner Cloud have in common.

    Args:
        network_id: that of a network that exists; None: it is made.
        network_range: its range.
        subnet_range: range of the subnet that is made in it.
        zone: network zone of the subnet.
    """
    made = {"network_id": MADE, "network_range": network_range}
    network = made if network_id is None else {"network_id": str(int(network_id))}
    return {PLATFORM: "hetzner", **network, "subnet_range": subnet_range, "network_zone": zone}


def hetzner_machine(network: Origin, *, location: str, volume: int | None) -> dict[str, str]:
    """The origin of one of them.

    Args:
        network: what they have in common.
        location: where it is wanted.
        volume: size of its volume in GB; None: it has none.
    """
    return on_volume({**network, "location": location}, volume)


def aws_network(*, vpc_id: object, vpc_range: str) -> dict[str, str]:
    """What all machines of a cluster on AWS have in common.

    Args:
        vpc_id: that of a VPC that exists, left out unless it is a text by now; None: it is made.
        vpc_range: its range.
    """
    vpc = {"vpc_id": MADE, "vpc_range": vpc_range} if vpc_id is None else _known("vpc_id", vpc_id)
    return {PLATFORM: "aws", **vpc}


def aws_subnet(network: Origin, *, zone: str, subnet_id: object, subnet_range: str) -> dict[str, str]:
    """What those of one zone have in common.

    Args:
        network: what all have in common.
        zone: availability zone, whose name begins with its region.
        subnet_id: ID of the subnet there, if it exists, left out unless it is a text by now; None: it is made.
        subnet_range: its range.
    """
    return {**network, "zone": zone, **_known("subnets", subnet_range if subnet_id is None else subnet_id)}


def on_volume(origin: Origin, size: int | None) -> dict[str, str]:
    """An origin with the machine's volume.

    Args:
        origin: all else.
        size: of the volume, in GB or GiB as its cloud has it; None: there is none.
    """
    return {**origin, "volume": "" if size is None else str(int(size))}


def _known(fact: str, value: object) -> dict[str, str]:
    return {fact: value} if isinstance(value, str) else {}
