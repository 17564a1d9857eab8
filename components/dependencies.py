"""What a resource waits for, written to the state once.

The SDK finds the resources behind each input and names them twice: for the input, and for the resource. The engine
needs each name once, and none that follows from another one: a command waits for the one before it, and so for all that
came before that.
"""

from collections.abc import Awaitable
from typing import Any, TypeVar

import pulumi

_T = TypeVar("_T")


def without_dependencies(value: pulumi.Input[_T]) -> pulumi.Output[_T]:
    """The same value, known and secret as before, whose resources the engine does not get to know.

    For inputs of a resource that depends on those resources anyway (`depends_on`), or whose deletion does not need
    them. The resource still waits until the value is known.
    """
    known: pulumi.Output[Any] = pulumi.Output.from_input(value)
    future: Awaitable[Any] = known.future(with_unknowns=True)
    return pulumi.Output(set(), future, known.is_known(), known.is_secret())
