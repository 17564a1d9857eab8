"""The guard for a whole stack: its change is judged before the first resource of any platform is declared."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.change import accept
from components.plan.guard.state import MADE, State, wanted_state

from .config import NAMESPACE, StackConfig, cluster_plan, spelled


def compared(stack: StackConfig, previous: Mapping[str, Any] | None) -> StackConfig:
    """The configuration with what the last update left, when the way from there to it can be made in one update.

    Raises:
        ChangeRefusedError: it cannot.
    """

    def key(name: str) -> str:
        return f"{NAMESPACE}:override" if name == "override" else spelled(stack, name)

    accept(previous, wanted(stack), stack.override, key)
    return replace(stack, previous=previous)


def wanted(stack: StackConfig) -> State:
    """What the stack wants, in the guard's terms; `EtcdCluster` makes the same of its arguments."""
    slots = () if stack.hetzner is None else stack.hetzner.plan.slots
    own = stack.authority
    return wanted_state(
        cluster_plan(stack),
        generations={slot.name: slot.generation for slot in slots},
        identities={},
        trusted={"1": MADE if own is None else own.certificate},
        issuer="1",
    )
