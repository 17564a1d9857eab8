"""Settings of Pulumi's Python runtime that make every run faster and change no result."""

import asyncio
import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulumi

# More than the largest cluster registers at once. A thread starts when it is needed.
_REGISTRATIONS = 256


def tune() -> None:
    """Applies them for the rest of the process. Called in the event loop, before a resource is declared.

    Every registration in progress holds a thread of the event loop's pool. The SDK's pool has as many threads as the
    engine makes steps at once (`--parallel`), so a hundred short registrations of certificates would delay those that
    take longest, of `prepare`. The engine still limits the steps.

    The SDK sends its own debug messages to the engine, hundreds in a run, and waits for each. The engine drops them,
    unless it runs with `--debug`. They are sent only in Python's development mode (`PYTHONDEVMODE=1`).

    The program ends before there is garbage worth the search for it.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_REGISTRATIONS))
    if not sys.flags.dev_mode:
        pulumi.log.debug = _drop
    gc.disable()


def _drop(*_: Any, **__: Any) -> None:
    pass
