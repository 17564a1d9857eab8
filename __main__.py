"""The program of `pulumi up`: reads the stack's configuration, builds the stack that it names, exports its outputs."""

import importlib
from typing import Any

import pulumi

from components.change import OUTPUT
from stacks import config, guard
from stacks.previous import previous


async def program() -> dict[str, Any]:
    """Builds the stack, knowing what its last update left; returns its outputs by name."""
    stack = config.load(pulumi.get_stack())
    for warning in stack.warnings:
        pulumi.log.warn(warning)
    last = await previous(OUTPUT, "generations")
    # Before any resource is declared: what is refused here has touched nothing.
    stack = guard.compared(stack, last)
    # Only the platform in use: each loads the SDK of its cloud.
    platform = importlib.import_module(f"stacks.{stack.platform}")
    outputs: dict[str, Any] = platform.build(stack, guard.rest(stack, last))
    return outputs


pulumi.run(program)
