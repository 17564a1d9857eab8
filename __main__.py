"""The Pulumi program: reads the stack's configuration, builds the stack, exports its outputs."""

from typing import Any

import pulumi

from components.guard import OUTPUT, previous_outputs
from components.stack_traces import no_stack_traces
from stacks import config, guard, machine_types, runtime
from stacks.platform import BASTION

# Exit status of Pulumi's Python runner after it has logged the error, so that Pulumi adds no line of its own.
_LOGGED = 32


async def program() -> dict[str, Any]:
    """Builds the stack; returns its outputs by name. A refusal ends the program with one diagnostic."""
    runtime.tune()
    try:
        return await build()
    except pulumi.RunError as refusal:
        pulumi.log.error(str(refusal))
        raise SystemExit(_LOGGED) from None


async def build() -> dict[str, Any]:
    """Builds the stack, compared with its last update; returns its outputs by name."""
    stack = config.load(pulumi.get_stack())
    for warning in stack.warnings:
        pulumi.log.warn(warning)
    last = await previous_outputs(OUTPUT, "generations", BASTION, "backup", *stack.machines.compared_with)
    # Before any resource is declared, so that a refused change has touched nothing.
    stack = guard.compared(stack, last)
    if known := guard.newest_known(stack, last):
        pulumi.log.info(known)
    machine_types.check(stack, last)
    with no_stack_traces():
        return stack.platform.build(stack, guard.before(stack, last))


pulumi.run(program)
