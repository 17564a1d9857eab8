"""Progress for people, and the clock that bounds a verb."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from .errors import NodeError, OverdueError

_STILL_SECONDS = 60.0

_warnings: list[str] = []
_state = {"member": "", "phase": "start", "reader": "there"}


def member(name: str) -> None:
    """Sets the name that starts every line."""
    _state["member"] = name


def current_member() -> str:
    """The name that starts every line; empty before it is known."""
    return _state["member"]


def say(text: str) -> None:
    """One short line of progress, on stderr: stdout is for answers.

    A closed reader (the operator's run was interrupted) stops nothing.
    """
    prefix = f"{_state['member']}: " if _state["member"] else ""
    try:
        print(f"{prefix}{text}", file=sys.stderr, flush=True)
    except OSError:
        _state["reader"] = "gone"
        # Python would try to flush it again at exit, and fail.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def warn(text: str) -> None:
    """A line that the operator should see at the end: it is also in the answer, and the Pulumi program prints it."""
    _warnings.append(f"warning: {text}")
    say(_warnings[-1])


def warned() -> list[str]:
    """The lines given to `warn`."""
    return list(_warnings)


def refuse_abandoned() -> None:
    """Refuses further steps if the run that started this verb is gone.

    Nothing on this machine notices that ssh was interrupted. The operator's next run may be at another machine by now,
    and two runs that wait for the same member would continue at the same moment.

    Raises:
        NodeError: the reader of this verb's output is gone.
    """
    if _state["reader"] == "gone" or any(_reader_gone(stream) for stream in (1, 2)):
        raise NodeError(
            "the run that started this has ended; no further step was started", "Run again: it resumes from here."
        )


def _reader_gone(descriptor: int) -> bool:
    """Whether the other end of a pipe or socket is closed; files and open terminals have none."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def phase(name: str) -> None:
    """Sets the phase, for the message when the time is over; prints nothing."""
    _state["phase"] = name


def current_phase() -> str:
    """The present phase."""
    return _state["phase"]


@contextlib.contextmanager
def deadline(verb: str, seconds: float) -> Iterator[None]:
    """Ends the block with an OverdueError that names the phase when it takes longer than `seconds` and `more_time`."""
    begin = time.monotonic()

    def over(_signal: int, _frame: FrameType | None) -> None:
        raise OverdueError(
            f"{verb} did not end within {time.monotonic() - begin:.0f} s; its phase was: {_state['phase']}",
            "Nothing needs to be undone. Run again; if it happens twice, look at this phase.",
        )

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    done = threading.Event()
    threading.Thread(target=_still, args=(done,), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _still(done: threading.Event) -> None:
    """Reports the phase repeatedly: a silent connection can be closed on the way to the operator."""
    while not done.wait(_STILL_SECONDS):
        say(f"still at: {_state['phase']}")


def more_time(seconds: float) -> None:
    """Extends the verb's `deadline`, for steps whose duration depends on the size of the data."""
    left = time_left()
    if left:
        signal.setitimer(signal.ITIMER_REAL, left + seconds)


def time_left() -> float:
    """Seconds until the verb's `deadline` is over; 0 when it is over, or there is none."""
    return signal.getitimer(signal.ITIMER_REAL)[0]


def until(seconds: float, every: float = 0.1) -> Iterator[float]:
    """Yields the seconds left, at once and then every `every` seconds, until `seconds` are over; at least once."""
    end = time.monotonic() + seconds
    left = seconds
    while True:
        yield max(left, 0.0)
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(every, left))


def size(count: int) -> str:
    """A number of bytes in MiB or GiB, for messages."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
