"""The program of `pulumi up`: reads the stack's configuration, builds the stack that it names, exports its outputs."""

from typing import Any

import pulumi

from components.brief_traces import brief_traces
from components.change import OUTPUT, previous_outputs
from stacks import config, guard, offers

# Exit status with which Pulumi's own runner says that everything has been said: no line about it follows the error.
_SAID = 32


async def program() -> dict[str, Any]:
    """Builds the stack; returns its outputs by name. What is refused ends the program with one diagnostic."""
    try:
        return await build()
    except pulumi.RunError as refusal:
        pulumi.log.error(str(refusal))
        raise SystemExit(_SAID) from None


async def build() -> dict[str, Any]:
    """Builds the stack, knowing what its last update left; returns its outputs by name."""
    stack = config.load(pulumi.get_stack())
    for warning in stack.warnings:
        pulumi.log.warn(warning)
    last = await previous_outputs(OUTPUT, "generations", *stack.machines.compared_with)
    # Before any resource is declared: what is refused here has touched nothing.
    stack = guard.compared(stack, last)
    offers.check(stack, last)
    with brief_traces():
        return stack.platform.build(stack, guard.before(stack, last))


pulumi.run(program)
