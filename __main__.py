"""The program of `pulumi up`: reads the stack's configuration, builds the stack that it names, exports its outputs."""

import importlib
from typing import Any

import pulumi

from components import previous_update
from stacks import config, guard


async def main() -> dict[str, Any]:
    """The stack's outputs."""
    stack = config.load(pulumi.get_stack())
    for warning in stack.warnings:
        pulumi.log.warn(warning)
    # Before any resource is declared: what is refused here has touched nothing.
    stack = guard.compared(stack, await previous_update())
    # Only the platform in use: each loads the SDK of its cloud.
    platform = importlib.import_module(f"stacks.{stack.platform}")
    outputs: dict[str, Any] = platform.build(stack)
    return outputs


pulumi.run(main)
