"""A thread for what a hook waits for.

Every registration in progress holds one of the event loop's own threads (six on a computer with two cores) until the
engine answers, and the engine waits for the hooks of these registrations. A hook that needed one of these threads as
well would wait for ever.
"""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def aside(function: Callable[..., _T], *arguments: Any) -> _T:
    """The function's result, from a thread of its own.

    Args:
        function: what blocks.
        arguments: what it is called with.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()
    call = functools.partial(contextvars.copy_context().run, function, *arguments)

    def settle(result: Any, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        try:
            result, error = call(), None
        except BaseException as raised:
            result, error = None, raised
        loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await done
