"""The quota beside the memory that the cloud says its machines have: asked at preview, before anything is made."""

from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from components.plan.errors import Problem, shown
from components.plan.guard.state import read_state
from components.plan.sizes import GIB, MIB, parse_bytes

from . import aws_config, hetzner_config
from .config import ConfigError, StackConfig


def check(stack: StackConfig, last: Mapping[str, Any]) -> None:
    """Refuses a quota that is larger than the memory of a machine that is made, or that gets a larger quota.

    What cannot be asked is a warning: the machine itself is asked again before etcd starts.

    Args:
        stack: the configuration.
        last: what the last update left in the output `generations`.

    Raises:
        ConfigError: it is larger.
    """
    quota = parse_bytes(stack.quota)
    before = read_state(stack.previous)
    raised = before is None or quota > before.quota_bytes
    known = {} if raised else {slot: int(number) for slot, number in (last.get("generations") or {}).items()}
    new = [slot for slot, number in stack.generations.items() if known.get(slot) != number]
    problems: list[Problem] = []
    if stack.hetzner is not None:
        servers = {slot.name: slot.server_type for slot in stack.hetzner.plan.slots if slot.name in new}
        problems = _problems(stack.quota, servers, f"{hetzner_config.KEY}.serverType", _of_server)
    elif stack.aws is not None:
        instances = {slot.name: slot.instance_type for slot in stack.aws.plan.slots if slot.name in new}
        problems = _problems(stack.quota, instances, f"{aws_config.KEY}.instanceType", _of_instance)
    if problems:
        raise ConfigError(stack.cluster_name, problems)


def _problems(quota: str, types: Mapping[str, str], key: str, memory_of: Callable[[str], int]) -> list[Problem]:
    """Why machines of these types, by slot, cannot have that quota; empty when they can, or nobody says."""
    problems = []
    for type_ in dict.fromkeys(types.values()):
        try:
            memory = memory_of(type_)
        except Exception as error:
            text = " ".join(str(error).split())[:200]
            pulumi.log.warn(f"How much memory {type_} has could not be asked: {text}")
            continue
        if parse_bytes(quota) > memory:
            slots = ", ".join(slot for slot, each in types.items() if each == type_)
            rule = f"The database must fit into memory, and a machine of type {type_} ({slots}) has {_size(memory)}"
            remedy = f"Set quota to {_size(memory)} or less, or choose a larger {key}"
            problems.append(Problem("quota", shown(quota), rule, remedy))
    return problems


def _of_server(server_type: str) -> int:
    import pulumi_hcloud as hcloud  # noqa: PLC0415  the SDK of the platform in use alone

    return hcloud.get_server_type(name=server_type).memory * GIB


def _of_instance(instance_type: str) -> int:
    import pulumi_aws as aws  # noqa: PLC0415  the SDK of the platform in use alone

    return aws.ec2.get_instance_type(instance_type=instance_type).memory_size * MIB


def _size(count: int) -> str:
    return f"{count // GIB}GiB" if count % GIB == 0 else f"{count // MIB}MiB"
