"""The program of `pulumi up`: reads the stack's configuration, builds the stack that it names, exports its outputs."""

import importlib
from typing import Any

import pulumi

from stacks import config
from stacks.previous import previous

stack = config.load(pulumi.get_stack())
for warning in stack.warnings:
    pulumi.log.warn(warning)
# Only the platform in use: each loads the SDK of its cloud.
platform = importlib.import_module(f"stacks.{stack.platform}")


async def program() -> dict[str, Any]:
    """Builds the stack, knowing what its last update left; returns its outputs by name."""
    outputs: dict[str, Any] = platform.build(stack, await previous("generations"))
    return outputs


pulumi.run(program)
