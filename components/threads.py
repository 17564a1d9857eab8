"""Runs blocking calls of hooks in separate threads.

Every registration in progress holds a thread of the event loop's pool until the engine answers. The engine waits for
the hooks of these registrations. A hook that needed a thread of the pool too could wait forever: users of the library
have the SDK's pool, whose size follows `--parallel`. (The program replaces it by a larger one, stacks/runtime.py.)
"""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def in_thread(function: Callable[..., _T], *arguments: Any) -> _T:
    """The result of a blocking function, run in a new thread."""
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
