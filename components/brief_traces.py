"""Where in the program a resource was declared: the state has it once for each, as far as the SDK tells."""

import contextlib
import sys
from collections.abc import Iterator

# The SDK's own calls between the declaration of a resource and the look at the stack, and the declaration itself.
_FRAMES = 7


@contextlib.contextmanager
def brief_traces() -> Iterator[None]:
    """Within, the line that declares a resource is kept, and not who called it.

    The whole stack down to Python's own start is 2 KB for each resource, has paths of the operator's computer in it,
    and nothing shows it. What is raised within has its whole traceback when it has left.
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
