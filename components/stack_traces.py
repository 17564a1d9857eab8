"""Keeps stack traces out of the state, where the SDK stores one for each resource."""

import contextlib
import sys
from collections.abc import Iterator

# Only the function that reads the stack. The SDK does not expect that it finds none.
_FRAMES = 1


@contextlib.contextmanager
def no_stack_traces() -> Iterator[None]:
    """Within it, nothing is stored about the lines that declare a resource.

    The whole stack is 2 KB per resource and contains paths of the operator's computer; nothing shows it. Its first line
    alone, which is one of these components, is 0.2 KB. Exceptions that leave the context have their full traceback.
    """
    before = getattr(sys, "tracebacklimit", None)
    sys.tracebacklimit = _FRAMES
    try:
        yield
    finally:
        if before is None:
            del sys.tracebacklimit
        else:
            sys.tracebacklimit = before
