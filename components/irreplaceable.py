"""Refuses to replace resources in use, already at preview.

Pulumi replaces a resource if `--replace` names it, if the state marks it as tainted, or if its provider requires it.
For a CA, or for the command that prepared a member's machine, that would destroy the cluster. `protect` would block
`pulumi destroy` too. This hook runs only before a creation.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import pulumi
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import settings
from pulumi.runtime.proto import resource_pb2

from .threads import in_thread


class ReplacementRefusedError(Exception):
    """A resource in use would be replaced."""


def irreplaceable(name: str, refusal: Callable[[str], str], unless: str | None = None) -> pulumi.ResourceHook:
    """A hook for `before_create` that fails for resources in the state, so that nothing is created or deleted.

    It works for resources that are created before the old one is deleted, which is Pulumi's default. The state is read
    once per run, and not only by the hook: the first such call registers Pulumi's own provider, which is a step of the
    engine, and all steps that it makes at once (`--parallel`) may be waiting for hooks.

    Args:
        name: unique name of the hook.
        refusal: name of the resource -> why it is not replaced, and what to do instead.
        unless: name of an input. If its value differs from the state or is not known yet, the replacement is intended
            and allowed. Default: never allowed.
    """

    async def refuse(args: pulumi.ResourceHookArgs) -> None:
        state = await _state()
        if args.urn in state and (unless is None or await _same(args, state[args.urn], unless)):
            raise ReplacementRefusedError(
                f"{refusal(args.name)} Then run `pulumi up` without `--replace`. If the state marks it as tainted: "
                f"`pulumi state untaint '{args.urn}'`."
            )

    with contextlib.suppress(RuntimeError):  # no event loop: no program runs
        _state()
    callback: Callable[[pulumi.ResourceHookArgs], Awaitable[None]] = refuse
    return pulumi.ResourceHook(name, callback, pulumi.ResourceHookOptions(on_dry_run=True))


async def _same(args: pulumi.ResourceHookArgs, there: Mapping[str, Any], name: str) -> bool:
    """Whether an input has the same value as in the state."""
    value = (args.new_inputs or {}).get(name)
    if isinstance(value, pulumi.Output):
        value = await value.future() if await value.is_known() else None
    return bool(value == there["outputs"][name])


def volume_refusal(volume: str) -> str:
    """Why a slot's volume is not replaced; `volume` is the name of the resource."""
    return (
        f"The volume {volume} must not be replaced: the data of its member would be deleted with it. Nothing was "
        "changed. To use another volume, replace the slot in the list by one with another name."
    )


def attachment_refusal(volume: str) -> str:
    """Why the attachment of a slot's volume is not replaced; `volume` is the name of the resource."""
    return (
        f"The attachment {volume} must not be replaced: the volume of a member cannot be detached while its machine "
        "runs. It was not changed. To replace both, raise the slot's generation; the data are kept."
    )


# Per run of a program, because each run has its own event loop.
_looks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[Mapping[str, Any]]] = WeakKeyDictionary()


async def urns_in_state() -> frozenset[str]:
    """The URNs in the stack's state when this run first read it, without resources that are pending deletion."""
    return frozenset(await _state())


async def outputs_in_state() -> Mapping[str, Any]:
    """URN -> outputs, of the same resources and of components, as protobuf structures."""
    return {urn: each["outputs"] for urn, each in (await _state()).items()}


def _state() -> asyncio.Future[Mapping[str, Any]]:
    """URN -> outputs, of the same resources. The first call begins to read them. Raises RuntimeError outside a loop."""
    loop = asyncio.get_running_loop()
    if loop not in _looks:
        _looks[loop] = asyncio.ensure_future(_look())
        # An error is for whoever needs the state.
        _looks[loop].add_done_callback(lambda done: done.cancelled() or done.exception())
    return _looks[loop]


async def _look() -> Mapping[str, Any]:
    # The SDK has no function for this invoke, which is like that of `StackReference`, but for resources.
    # `pulumi.runtime.invoke_async` would need a thread of the event loop's pool (see `threads`).
    monitor = settings.get_monitor()
    if monitor is None:
        return {}
    arguments = Struct()
    arguments["stackName"] = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    request = resource_pb2.ResourceInvokeRequest(tok="pulumi:pulumi:readStackResourceOutputs", args=arguments)
    answer = await in_thread(monitor.Invoke, request)
    if answer.failures:
        raise pulumi.RunError(f"The stack's state cannot be read: {answer.failures[0].reason}")
    # A user's mocks may answer nothing.
    outputs: Mapping[str, Any] = dict(getattr(answer, "return")).get("outputs", {})
    return outputs
