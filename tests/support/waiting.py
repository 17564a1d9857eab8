"""Waiting for what comes, but not for ever."""

import time
from collections.abc import Iterator


def every(pause: float, *, seconds: float) -> Iterator[None]:
    """Once at first, then after every pause."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(pause)
