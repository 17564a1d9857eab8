"""Waiting with a limit."""

import time
from collections.abc import Iterator


def every(pause: float, *, seconds: float) -> Iterator[None]:
    """Yield at once, then after every pause."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(pause)
