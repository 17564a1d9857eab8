"""What is in use is not made a second time: refused at preview already, whatever asks for its replacement.

Pulumi replaces a resource when `--replace` names it, when the state marks it as tainted, and when its provider wants
to. For a CA, or for the command that has prepared a member's machine, that would end the cluster. `protect` would
refuse it too, and `pulumi destroy` with it; this hook runs before a creation alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

import pulumi
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import settings
from pulumi.runtime.proto import resource_pb2

from .aside import aside


class ReplacementRefusedError(Exception):
    """Something that is in use would be made anew. The text says what, why that is refused, and what to do."""


def irreplaceable(name: str, refusal: Callable[[str], str]) -> pulumi.ResourceHook:
    """A hook for `before_create`: fails for what the state has already, so that nothing of it is created or deleted.

    It works for resources that are created before the old one is deleted, which is Pulumi's default. It costs nothing
    in a run that creates none of them, and one look at the state in one that does.

    Args:
        name: unique name of the hook.
        refusal: name of the resource -> why it is not replaced, and what to do instead.
    """

    async def refuse(args: pulumi.ResourceHookArgs) -> None:
        if args.urn in await urns_in_state():
            raise ReplacementRefusedError(
                f"{refusal(args.name)} Then run `pulumi up` without `--replace`. If the state marks it as tainted: "
                f"`pulumi state untaint '{args.urn}'`."
            )

    callback: Callable[[pulumi.ResourceHookArgs], Awaitable[None]] = refuse
    return pulumi.ResourceHook(name, callback, pulumi.ResourceHookOptions(on_dry_run=True))


def volume_refusal(volume: str) -> str:
    """Why a slot's volume is not replaced.

    Args:
        volume: name of the resource.
    """
    return (
        f"The volume {volume} holds the data of a member, and they would be deleted with it: it is not made anew, and "
        "nothing was changed. A member with another volume is one of another name: exchange the slot in the list."
    )


# Of each run of a program, which has an event loop of its own.
_looks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[frozenset[str]]] = WeakKeyDictionary()


async def urns_in_state() -> frozenset[str]:
    """The URNs that this stack's state had when this run asked first; without those that are only to be deleted."""
    loop = asyncio.get_running_loop()
    if loop not in _looks:
        _looks[loop] = asyncio.ensure_future(_look())
    return await _looks[loop]


async def _look() -> frozenset[str]:
    # No SDK has a function for it: it is the invoke behind `StackReference`, for resources in place of outputs. Sent
    # here and not by `pulumi.runtime.invoke_async`, which needs a thread of the event loop (see `aside`); and of the
    # answer only the names are looked at, not what is secret.
    monitor = settings.get_monitor()
    if monitor is None:
        return frozenset()
    arguments = Struct()
    arguments["stackName"] = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    request = resource_pb2.ResourceInvokeRequest(tok="pulumi:pulumi:readStackResourceOutputs", args=arguments)
    answer = await aside(monitor.Invoke, request)
    if answer.failures:
        raise pulumi.RunError(f"The stack's state cannot be read: {answer.failures[0].reason}")
    return frozenset(getattr(answer, "return")["outputs"])
