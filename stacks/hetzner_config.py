"""The object `hetzner` of the configuration, typed and compared with Hetzner's rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.plan.errors import Problem
from components.plan.hetzner import (
    DEFAULT_IMAGE,
    DEFAULT_NETWORK,
    DEFAULT_SUBNET,
    HetznerBastion,
    HetznerPlan,
    HetznerSlot,
    check_hetzner,
)

from .spelling import spelling, where_given

KEY = "hetzner"
_SHARED = ("location", "serverType", "image")


@dataclass(frozen=True)
class HetznerConfig:
    """Network and machines on Hetzner Cloud, every default filled in."""

    plan: HetznerPlan
    network_id: int | None = None
    protect_volume: bool = True
    ssh_keys: tuple[str, ...] = ()
    user: str = ""
    private_key: str = field(default="", repr=False)
    """The operator's own key; empty: one is made, or it is in an agent."""
    public_key: str = ""
    """The operator's own public key; empty: one is made."""
    passphrase: str = field(default="", repr=False)
    """Of the operator's own key; empty: it has none."""


def read_hetzner(
    given: Mapping[str, Any], cluster: str, *, other_bastion: bool, problems: list[Problem]
) -> HetznerPlan:
    """The plan that the object describes.

    Args:
        given: the object, each value in its type.
        cluster: name of the cluster.
        other_bastion: the machines are reached through a bastion that exists.
        problems: gets every reason why it cannot be; then the plan counts for nothing.
    """
    location, server_type = given.get("location", ""), given.get("serverType", "")
    image = given.get("image", DEFAULT_IMAGE)
    slots = [
        HetznerSlot(
            name=slot.get("name", ""),
            location=slot.get("location", location),
            server_type=slot.get("serverType", server_type),
            image=slot.get("image", image),
            address=slot.get("address"),
            generation=slot.get("generation", 1),
            extra_names=tuple(slot.get("extraNames", ())),
        )
        for slot in given.get("slots", [])
    ]
    wanted = given.get("bastion")
    plan = HetznerPlan(
        cluster=cluster,
        slots=slots,
        network_range=given.get("networkRange", DEFAULT_NETWORK),
        subnet_range=given.get("subnetRange", DEFAULT_SUBNET),
        architecture=given.get("architecture"),
        operators=tuple(given.get("operators", ())),
        clients=tuple(given.get("clients", ())),
        metrics_clients=tuple(given.get("metricsClients", ())),
        open_to_the_world=given.get("openToTheWorld", False),
        public_ipv4=given.get("publicIpv4", True),
        public_ipv6=given.get("publicIpv6", False),
        volume_size=given.get("volume", {}).get("size"),
        bastion=None
        if wanted is None
        else HetznerBastion(
            location=wanted.get("location", location),
            server_type=wanted.get("serverType", server_type),
            image=wanted.get("image", DEFAULT_IMAGE),
            address=wanted.get("address"),
        ),
        through_another_bastion=other_bastion,
        labels=given.get("labels", {}),
    )
    # What could not be read at all is a problem already.
    known = {problem.key for problem in problems}
    for problem in check_hetzner(plan, spelled):
        at = where_given(problem.key, given, KEY, _SHARED)
        if at not in known:
            known.add(at)
            problems.append(Problem(at, problem.value, problem.rule, problem.remedy))
    return plan


def spelled(name: str) -> str:
    """The key for an argument of the plan."""
    return spelling(KEY)("volume.size" if name == "volume_size" else name)
