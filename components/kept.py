"""Values that stay as they were first: what a machine is made with must not change under one that runs."""

from typing import Any

import pulumi

from .irreplaceable import irreplaceable


def kept(name: str, value: pulumi.Input[Any], parent: pulumi.Resource) -> pulumi.Output[Any]:
    """The value as it was when the `Stash` of this name was made; it is not made anew while it is in the state.

    Args:
        name: name of the resource; where it holds a slot's generation, the next generation begins with what is wanted
            then.
        value: what is wanted now.
        parent: the component.
    """
    return keep(name, value, parent).output


def keep(name: str, value: pulumi.Input[Any], parent: pulumi.Resource) -> pulumi.Stash:
    """The `Stash` itself. Arguments as for `kept`."""
    # A replacement ignores no changes: it would begin with what is wanted now.
    hook = irreplaceable(
        f"{name}-in-use",
        lambda resource: (
            f"{resource} keeps what was decided when it was made, and what runs was made with it: it is not made anew, "
            "and nothing was changed."
        ),
    )
    options = pulumi.ResourceOptions(
        parent=parent, ignore_changes=["input"], hooks=pulumi.ResourceHookBinding(before_create=[hook])
    )
    return pulumi.Stash(name, input=value, opts=options)


def generation_name(child: str, generation: int) -> str:
    """Name of what is kept for a generation of a slot.

    Args:
        child: name of the slot's other resources.
        generation: that of the slot.
    """
    return f"{child}-generation-{generation}"
