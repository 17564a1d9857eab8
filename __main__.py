"""The program of `pulumi up`: reads the stack's configuration, builds the stack that it names, exports its outputs."""

import importlib
from typing import Any

import pulumi

from components.change import OUTPUT
from stacks import config, guard, memory, offers, way_in
from stacks.previous import previous

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
    last = await previous(OUTPUT, "generations", *way_in.NEEDS)
    # Before any resource is declared: what is refused here has touched nothing.
    stack = guard.compared(stack, last)
    way_in.check(stack, last)
    memory.check(stack, last)
    offers.check(stack, last)
    # Only the platform in use: each loads the SDK of its cloud.
    platform = importlib.import_module(f"stacks.{stack.platform}")
    outputs: dict[str, Any] = platform.build(stack, guard.rest(stack, last))
    return outputs


pulumi.run(program)
