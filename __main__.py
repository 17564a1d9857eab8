"""The program of `pulumi up`: reads the stack's configuration, builds the stack that it names, exports its outputs."""

import pulumi

from stacks import config, hosts

stack = config.load(pulumi.get_stack())
for warning in stack.warnings:
    pulumi.log.warn(warning)
for name, value in hosts.build(stack).items():
    pulumi.export(name, value)
