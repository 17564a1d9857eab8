"""The guard for a whole stack: its change is judged before the first resource of any platform is declared."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.change import OUTPUT, accept
from components.plan.authorities import DEFAULT_PEER_AUTHORITY, peers_have_their_own
from components.plan.guard.state import State, read_state, wanted_state
from components.plan.places import check_places

from .config import NAMESPACE, AuthorityConfig, ConfigError, StackConfig, cluster_plan, spelled


def compared(stack: StackConfig, last: Mapping[str, Any]) -> StackConfig:
    """The configuration with what the last update left, when the way from there to it can be made in one update.

    Args:
        stack: the configuration.
        last: outputs of the last update.

    Raises:
        ChangeRefusedError: it cannot.
        ConfigError: data would be where they cannot be.
    """

    def key(name: str) -> str:
        return f"{NAMESPACE}:override" if name == "override" else spelled(stack, name)

    previous = last.get(OUTPUT)
    if stack.peer_authorities is None and peers_have_their_own(previous, [each.plan for each in stack.authorities]):
        peers = (AuthorityConfig(DEFAULT_PEER_AUTHORITY),)
        stack = replace(stack, peer_authorities=peers, peer_issuer=DEFAULT_PEER_AUTHORITY)
    _check_places(stack, previous)
    accept(previous, wanted(stack), stack.override, key)
    return replace(stack, previous=previous)


def _check_places(stack: StackConfig, previous: Mapping[str, Any] | None) -> None:
    """Raises ConfigError for data that would be in a new place where none may be."""

    def key(index: int, directory: str) -> str:
        own = spelled(stack, "data_directory")
        return own if directory == stack.data_directory else f"{spelled(stack, 'members')}[{index}].{own}"

    before = read_state(previous)
    directories = {member.name: member.data_directory for member in cluster_plan(stack).members}
    problems, _ = check_places(directories, {} if before is None else before.data_directories, key)
    if problems:
        raise ConfigError(stack.cluster_name, problems)


def rest(stack: StackConfig, last: Mapping[str, Any]) -> dict[str, Any]:
    """What a platform still has to compare itself: nothing, where the guard has (and may have been overridden)."""
    return {} if read_state(stack.previous) is not None else dict(last)


def wanted(stack: StackConfig) -> State:
    """What the stack wants, in the guard's terms; `EtcdCluster` makes the same of its arguments."""
    return wanted_state(
        cluster_plan(stack),
        generations=stack.generations,
        identities={},
        certificates={
            each.name: each.certificate
            for each in [*(stack.peer_authorities or ()), *stack.authorities]
            if each.certificate is not None
        },
        on_volumes=stack.on_volumes,
        origins=stack.origins,
    )
