"""Shortens the stack trace that the SDK stores in the state for each resource."""

import contextlib
import sys
from collections.abc import Iterator

# The declaration of a resource, and the SDK's own calls from there to where it reads the stack.
_FRAMES = 7


@contextlib.contextmanager
def short_stack_traces() -> Iterator[None]:
    """Within it, only the line that declares a resource is stored, without its callers.

    The whole stack is 2 KB per resource and contains paths of the operator's computer; nothing shows it. Exceptions
    that leave the context have their full traceback.
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
