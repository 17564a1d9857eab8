"""The arguments of `HetznerEtcdCluster` as a plan, and the rules between arguments."""

from collections.abc import Callable, Mapping
from typing import Any

from .cloud import WantedType
from .cloud_arguments import access, check_downloads, slot_fields, types_of
from .errors import Problem
from .hetzner import (
    DEFAULT_IMAGE,
    DEFAULT_NETWORK,
    DEFAULT_SUBNET,
    HetznerBastion,
    HetznerPlan,
    HetznerSlot,
    check_hetzner,
)

SHARED = ("location", "server_type", "image")
"""Arguments that are the defaults of slots and bastion."""


def hetzner_plan(cluster: str, args: Mapping[str, Any], *, through_another_bastion: bool) -> HetznerPlan:
    """The network and machines that these arguments describe, with all defaults.

    Args:
        cluster: name of the cluster.
        args: those of `HetznerEtcdCluster`, without the cluster's.
        through_another_bastion: whether ssh goes through an existing bastion.
    """
    location, server_type = args.get("location", ""), args.get("server_type", "")
    slots = [
        HetznerSlot(
            location=slot.get("location", location),
            server_type=slot.get("server_type", server_type),
            image=slot.get("image", args.get("image", DEFAULT_IMAGE)),
            **slot_fields(slot),
        )
        for slot in args.get("slots", [])
    ]
    bastion = args.get("bastion")
    return HetznerPlan(
        cluster=cluster,
        slots=slots,
        network_id=args.get("network_id"),
        network_range=args.get("network_range", DEFAULT_NETWORK),
        subnet_range=args.get("subnet_range", DEFAULT_SUBNET),
        public_ipv6=args.get("public_ipv6", False),
        volume_size=args.get("volume", {}).get("size"),
        bastion=None
        if bastion is None
        else HetznerBastion(
            location=bastion.get("location", location),
            server_type=bastion.get("server_type", server_type),
            image=bastion.get("image", DEFAULT_IMAGE),
            address=bastion.get("address"),
        ),
        labels=args.get("labels", {}),
        **access(args, through_another_bastion=through_another_bastion),
    )


def check_arguments(
    plan: HetznerPlan,
    cluster: Mapping[str, Any],
    spelled: Callable[[str], str] = str,
    of_cluster: Callable[[str], str] = str,
) -> list[Problem]:
    """Every reason why these arguments are not valid, as far as it can be checked offline; empty when there is none.

    Args:
        plan: their plan.
        cluster: those of the cluster.
        spelled: the user's spelling of an argument.
        of_cluster: the user's spelling of an argument of the cluster.
    """

    def own(name: str) -> str:
        return spelled("volume.size" if name == "volume_size" else name)

    return check_hetzner(plan, own) + check_downloads(
        plan.public_ipv4 or not plan.public_ipv6,
        cluster,
        "Machines whose only public address is IPv6 cannot reach GitHub, which has no IPv6",
        f"Set it to a mirror with IPv6 or in the network, or set {of_cluster('release_proxy')}, or "
        f"{spelled('public_ipv4')} to true",
        of_cluster,
    )


def wanted_types(plan: HetznerPlan, spelled: Callable[[str], str] = str) -> list[WantedType]:
    """The servers of a plan without problems, and its bastion.

    Args:
        spelled: the user's spelling of an argument.
    """
    slots = [(slot.name, slot.server_type, slot.location) for slot in plan.slots]
    bastion = None if plan.bastion is None else (plan.bastion.server_type, plan.bastion.location)
    return types_of("server_type", slots, bastion, spelled)
