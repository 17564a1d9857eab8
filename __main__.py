"""The program of `pulumi up`: reads the stack's configuration, builds the stack that it names, exports its outputs."""

import importlib

import pulumi

from stacks import config

stack = config.load(pulumi.get_stack())
for warning in stack.warnings:
    pulumi.log.warn(warning)
# Only the platform in use: each loads the SDK of its cloud.
platform = importlib.import_module(f"stacks.{stack.platform}")
for name, value in platform.build(stack).items():
    pulumi.export(name, value)
