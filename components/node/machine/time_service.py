"""Whether the clock of this machine is right: certificates depend on it."""

from __future__ import annotations

import ctypes
import shutil
import struct

from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say, until, warn

_CLOCK_ERROR = 5  # adjtimex: TIME_ERROR, not synchronised
_UNKNOWN_ERROR = 16_000_000  # µs: the kernel's default, see adjtimex(2) and timedatectl
_MAXERROR_AT = 24  # bytes into struct timex, where a long has 8
_TIME_SERVICES = ("systemd-timesyncd", "chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd")


def check(seconds: float = 30) -> None:
    """If a time service is active, it must have synchronised the clock; waits for that a little. Warns if there is
    none.
    """
    phase("wait for the clock")
    active = ""
    for left in until(seconds, every=1.0):
        if _synchronised():
            return
        if not active:
            states = run(["systemctl", "is-active", *_TIME_SERVICES], 20, check=False).stdout.split()
            active = next((name for name, state in zip(_TIME_SERVICES, states) if state == "active"), "")
            if not active:
                warn(
                    "no time service runs on this machine: if its clock is wrong, certificates are rejected as not "
                    "yet valid or expired. Install chrony or systemd-timesyncd."
                )
                return
        if active.startswith("chrony") and _tracks():
            return
        if left == seconds:
            say(f"waits for {active} to synchronise the clock")
    raise NodeError(
        f"{active} has not synchronised the clock of this machine within {seconds:.0f} s",
        "Check that it reaches a time server (`timedatectl timesync-status`, `chronyc sources`), then run again.",
    )


def _synchronised() -> bool:
    """Whether the kernel sees a synchronised clock. Its flag is also missing if nothing copies the time to the hardware
    clock (chrony without `rtcsync`), so a small maximum error counts too.
    """
    # struct timex is 208 bytes; all zero it only asks.
    timex = ctypes.create_string_buffer(512)
    try:
        state = int(ctypes.CDLL(None, use_errno=True).adjtimex(timex))
    except (OSError, AttributeError):
        return True
    return state != _CLOCK_ERROR or 0 <= struct.unpack_from("@q", timex, _MAXERROR_AT)[0] < _UNKNOWN_ERROR


def _tracks() -> bool:
    """Whether chrony reports it: if chrony must not set the clock, the kernel does not know."""
    if shutil.which("chronyc", path="/usr/bin:/usr/sbin:/bin:/sbin") is None:
        return False
    said = run(["chronyc", "-n", "tracking"], 10, check=False).stdout
    return any(line.startswith("Leap status") and line.rstrip().endswith("Normal") for line in said.splitlines())
