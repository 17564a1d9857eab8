"""The quota beside the memory that the cloud says its machines have: asked at preview, before anything is made."""

from collections.abc import Callable, Mapping

import pulumi

from components.plan.errors import Problem, shown
from components.plan.units import GIB, MIB, parse_bytes

from .config import ConfigError, StackConfig


def check_memory(stack: StackConfig, types: Mapping[str, str], key: str, memory_of: Callable[[str], int]) -> None:
    """Refuses a quota that is larger than the memory of a machine.

    What cannot be asked is only logged: the machine itself is asked again before etcd starts.

    Args:
        stack: the configuration.
        types: slot -> type of its machine.
        key: of the type in the configuration.
        memory_of: asks the cloud for the memory of a type, in bytes; raises whatever it likes.

    Raises:
        ConfigError: it is larger.
    """
    quota = parse_bytes(stack.quota)
    problems = []
    for type_ in dict.fromkeys(types.values()):
        try:
            memory = memory_of(type_)
        except Exception as error:
            pulumi.log.warn(f"The cloud does not say how much memory {type_} has: {error}")
            continue
        if quota > memory:
            slots = ", ".join(slot for slot, each in types.items() if each == type_)
            rule = f"The database must fit into memory, and a machine of type {type_} ({slots}) has {_size(memory)}"
            remedy = f"Set quota to {_size(memory)} or less, or choose a larger {key}"
            problems.append(Problem("quota", shown(stack.quota), rule, remedy))
    if problems:
        raise ConfigError(stack.cluster_name, problems)


def _size(count: int) -> str:
    return f"{count // GIB}GiB" if count % GIB == 0 else f"{count // MIB}MiB"
