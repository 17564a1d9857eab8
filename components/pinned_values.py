"""Values that stay as they were first: the properties of a running machine must not change."""

from typing import Any

import pulumi

from .irreplaceable import irreplaceable


def pinned(name: str, value: pulumi.Input[Any], parent: pulumi.Resource) -> pulumi.Output[Any]:
    """The value as it was when the `Stash` of this name was created.

    Args:
        name: name of the resource. If it contains a slot's generation, the next generation takes the value desired
            then.
    """
    return pin(name, value, parent).output


def pin(name: str, value: pulumi.Input[Any], parent: pulumi.Resource) -> pulumi.Stash:
    """The `Stash` itself. Arguments as for `pinned`."""
    # `ignore_changes` does not apply to a replacement, which would take the currently desired value.
    hook = irreplaceable(
        f"{name}-in-use",
        lambda resource: (
            f"{resource} must not be replaced: it keeps the values with which the running machines were created. "
            "Nothing was changed."
        ),
    )
    options = pulumi.ResourceOptions(
        parent=parent, ignore_changes=["input"], hooks=pulumi.ResourceHookBinding(before_create=[hook])
    )
    return pulumi.Stash(name, input=value, opts=options)


def generation_name(child: str, generation: int) -> str:
    """Name of the `Stash` for a generation of a slot; `child` is the name of the slot's other resources."""
    return f"{child}-generation-{generation}"
