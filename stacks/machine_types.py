"""Checks that the provider sells the machines that an update of a stack will create."""

from collections.abc import Mapping
from typing import Any

from components.machine_types import Seller, check_types
from components.plan.cloud import WantedType
from components.plan.guard.state import read_state
from components.plan.sizes import parse_bytes

from .config import ConfigError, StackConfig
from .platform import BASTION


def check(stack: StackConfig, last: Mapping[str, Any]) -> None:
    """Refuses types that are not sold in their place, and a quota larger than the memory of a machine.

    Args:
        last: outputs of the last update, with `generations` and `bastion`.

    Raises:
        ConfigError: a type is not sold in its place, or has too little memory.
    """
    before = {slot: int(generation) for slot, generation in (last.get("generations") or {}).items()}
    generations, platform, state = stack.machines.generations, stack.platform, read_state(stack.previous)

    def new(each: WantedType) -> bool:
        return before.get(each.slot) != generations.get(each.slot) if each.slot else BASTION not in last

    seller = Seller(platform.provider, platform.machine_type, f"{platform.name}.")
    raised = state is None or parse_bytes(stack.plan.quota) > state.quota_bytes
    if problems := check_types(stack.machines.wanted_types, new, seller, stack.plan.quota, raised=raised):
        raise ConfigError(stack.cluster_name, problems)
