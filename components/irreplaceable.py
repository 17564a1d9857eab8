"""What is in use is not made a second time: refused at preview already, whatever asks for its replacement.

Pulumi replaces a resource when `--replace` names it, when the state marks it as tainted, and when its provider wants
to. For a CA, or for the command that has prepared a member's machine, that would end the cluster. `protect` would
refuse it too, and `pulumi destroy` with it; this hook runs before a creation alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import pulumi
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import settings
from pulumi.runtime.proto import resource_pb2

from .aside import aside


class ReplacementRefusedError(Exception):
    """Something that is in use would be made anew. The text says what, why that is refused, and what to do."""


def irreplaceable(name: str, refusal: Callable[[str], str], unless: str | None = None) -> pulumi.ResourceHook:
    """A hook for `before_create`: fails for what the state has already, so that nothing of it is created or deleted.

    It works for resources that are created before the old one is deleted, which is Pulumi's default. It costs nothing
    in a run that creates none of them, and one look at the state in one that does.

    Args:
        name: unique name of the hook.
        refusal: name of the resource -> why it is not replaced, and what to do instead.
        unless: an input; with another value of it than the state has, or one that is not known yet, the replacement
            is what was asked for. Default: it never is.
    """

    async def refuse(args: pulumi.ResourceHookArgs) -> None:
        state = await _state()
        if args.urn in state and (unless is None or await _same(args, state[args.urn], unless)):
            raise ReplacementRefusedError(
                f"{refusal(args.name)} Then run `pulumi up` without `--replace`. If the state marks it as tainted: "
                f"`pulumi state untaint '{args.urn}'`."
            )

    callback: Callable[[pulumi.ResourceHookArgs], Awaitable[None]] = refuse
    return pulumi.ResourceHook(name, callback, pulumi.ResourceHookOptions(on_dry_run=True))


async def _same(args: pulumi.ResourceHookArgs, there: Mapping[str, Any], name: str) -> bool:
    """Whether an input is as the state has it."""
    value = (args.new_inputs or {}).get(name)
    if isinstance(value, pulumi.Output):
        value = await value.future() if await value.is_known() else None
    return bool(value == there["outputs"][name])


def volume_refusal(volume: str) -> str:
    """Why a slot's volume is not replaced.

    Args:
        volume: name of the resource.
    """
    return (
        f"The volume {volume} holds the data of a member, and they would be deleted with it: it is not made anew, and "
        "nothing was changed. A member with another volume is one of another name: exchange the slot in the list."
    )


def attachment_refusal(volume: str) -> str:
    """Why the attachment of a slot's volume is not replaced.

    Args:
        volume: name of the resource.
    """
    return (
        f"{volume} attaches the volume of a member to its machine, and it cannot be taken off while that runs: it is "
        "not made anew, and nothing was changed. Raise the slot's generation to have both made anew; the data stay."
    )


# Of each run of a program, which has an event loop of its own.
_looks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[Mapping[str, Any]]] = WeakKeyDictionary()


async def urns_in_state() -> frozenset[str]:
    """The URNs that this stack's state had when this run asked first; without those that are only to be deleted."""
    return frozenset(await _state())


async def _state() -> Mapping[str, Any]:
    """URN -> outputs, of the same."""
    loop = asyncio.get_running_loop()
    if loop not in _looks:
        _looks[loop] = asyncio.ensure_future(_look())
    return await _looks[loop]


async def _look() -> Mapping[str, Any]:
    # No SDK has a function for it: it is the invoke behind `StackReference`, for resources in place of outputs. Sent
    # here and not by `pulumi.runtime.invoke_async`, which needs a thread of the event loop (see `aside`).
    monitor = settings.get_monitor()
    if monitor is None:
        return {}
    arguments = Struct()
    arguments["stackName"] = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    request = resource_pb2.ResourceInvokeRequest(tok="pulumi:pulumi:readStackResourceOutputs", args=arguments)
    answer = await aside(monitor.Invoke, request)
    if answer.failures:
        raise pulumi.RunError(f"The stack's state cannot be read: {answer.failures[0].reason}")
    outputs: Mapping[str, Any] = getattr(answer, "return")["outputs"]
    return outputs
