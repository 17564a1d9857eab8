"""The guard for a whole stack: checks a change before the first resource of any platform is declared."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.cluster import with_peers
from components.guard import OUTPUT, accept
from components.node.shared.backup import NEWEST
from components.pki import authorities_of
from components.plan.data_directories import check_data_directories
from components.plan.generations import check_generations
from components.plan.guard.state import State, directories_before, read_state, wanted_state
from components.plan.restore import check_snapshot

from .authorities import own_certificate
from .config import NAMESPACE, ConfigError, StackConfig


def compared(stack: StackConfig, last: Mapping[str, Any]) -> StackConfig:
    """The configuration with `previous`, if one update can make the change from the last update to it.

    Args:
        last: outputs of the last update.

    Raises:
        ChangeRefusedError: the change cannot be made in one update.
        ConfigError: a data directory is not possible, or the platform refuses the change.
    """

    def key(name: str) -> str:
        return f"{NAMESPACE}:override" if name == "override" else stack.spelled(name)

    previous = last.get(OUTPUT)
    stack = replace(stack, arguments=with_peers({**stack.arguments, "previous": previous}))
    _check_places(stack)
    if stack.plan.restore is not None:
        problems = check_snapshot(stack.plan.restore, stack.cluster_name, stack.plan.version, stack.spelled)
        if problems:
            raise ConfigError(stack.cluster_name, problems)
    accept(previous, wanted(stack), stack.arguments.get("override", ""), key)
    if problems := stack.machines.compare(last):
        raise ConfigError(stack.cluster_name, problems)
    return stack


def _check_places(stack: StackConfig) -> None:
    """Raises ConfigError if a new data directory is in a forbidden place."""

    def key(index: int, directory: str) -> str:
        own = stack.spelled("data_directory")
        return own if directory == stack.machines.data_directory else f"{stack.spelled('members')}[{index}].{own}"

    directories = {member.name: member.data_directory for member in stack.plan.members}
    problems, _ = check_data_directories(directories, directories_before(stack.previous, directories), key)
    if problems:
        raise ConfigError(stack.cluster_name, problems)


def before(stack: StackConfig, last: Mapping[str, Any]) -> dict[str, int]:
    """Slot -> generation in the last update; empty if the guard has compared them (it may have been overridden).

    Args:
        stack: the configuration, from `compared`.
        last: outputs of the last update.

    Raises:
        ConfigError: the desired generations must not follow these.
    """
    if read_state(stack.previous) is not None:
        return {}
    # Pulumi returns numbers as floats.
    found = {slot: int(generation) for slot, generation in last.get("generations", {}).items()}
    if problems := check_generations(found, stack.machines.generations, stack.machines.key):
        raise ConfigError(stack.cluster_name, problems)
    return found


def newest_known(stack: StackConfig, last: Mapping[str, Any]) -> str:
    """For a restore of the newest snapshot in the store: the newest that the last update knew, in a sentence.

    Args:
        stack: the configuration, from `compared`.
        last: outputs of the last update.

    Returns:
        Empty without such a restore, or if it knew none.
    """
    restore, found = stack.plan.restore, last.get("backup")
    if restore is None or not restore.pending or restore.source != NEWEST or not found:
        return ""
    return (
        f"The newest snapshot that the last update knew is {found['name']} in {found['place']}, of {found['taken']}. "
        "What the cluster has written since the newest one will be lost."
    )


def wanted(stack: StackConfig) -> State:
    """The desired state for the guard; `EtcdCluster` derives the same from its arguments."""
    machines, args = stack.machines, stack.arguments
    authorities = [*args.get("peer_authorities", ()), *authorities_of(args.get("authorities"))]
    certificates = {each["name"]: own_certificate(each) for each in authorities}
    return wanted_state(
        stack.plan,
        generations=machines.generations,
        identities={},
        certificates={name: text for name, text in certificates.items() if text is not None},
        on_volumes=machines.on_volumes,
        origins=machines.origins,
    )
