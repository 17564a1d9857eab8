"""Values that stay as they were first: what a machine is made with must not change under one that runs."""

from typing import Any

import pulumi


def kept(name: str, value: pulumi.Input[Any], parent: pulumi.Resource) -> pulumi.Output[Any]:
    """The value as it was when the `Stash` of this name was made.

    Args:
        name: name of the resource; where it holds a slot's generation, the next generation begins with what is wanted
            then.
        value: what is wanted now.
        parent: the component.
    """
    options = pulumi.ResourceOptions(parent=parent, ignore_changes=["input"])
    return pulumi.Stash(name, input=value, opts=options).output


def generation_name(child: str, generation: int) -> str:
    """Name of what is kept for a generation of a slot.

    Args:
        child: name of the slot's other resources.
        generation: that of the slot.
    """
    return f"{child}-generation-{generation}"
