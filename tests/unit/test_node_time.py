"""Whether a machine's clock is synchronised, and the message if no time service runs."""

import ctypes
import shutil
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from components.node.machine import time_service
from components.node.shared.errors import NodeError

TRACKING = "Reference ID    : A9FEA97B (169.254.169.123)\nStratum         : 4\nLeap status     : {}\n"


class Clock:
    """The answers of a machine's kernel and programs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state, self.maxerror = 5, 16_000_000
        self.active, self.leap = "", "Not synchronised"
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: self)
        monkeypatch.setattr(time_service, "run", self.run)
        monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/chronyc")

    def adjtimex(self, timex: Any) -> int:
        struct.pack_into("@q", timex, 24, self.maxerror)
        return self.state

    def run(self, argv: list[str], *_: object, **__: object) -> SimpleNamespace:
        if argv[0] == "chronyc":
            return SimpleNamespace(stdout=TRACKING.format(self.leap))
        states = ["active" if name == self.active else "inactive" for name in argv[2:]]
        return SimpleNamespace(stdout="\n".join(states))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize(
    ("kernel", "active", "leap"),
    [
        ((0, 16_000_000), "systemd-timesyncd", ""),
        # chrony without rtcsync: the kernel flag stays, but the error is known.
        ((5, 31_250), "chrony", "Normal"),
        ((5, 15_999_999), "", ""),
        # chrony that cannot set the clock: -x, in a container.
        ((5, 16_000_000), "chronyd", "Normal"),
    ],
)
def test_a_synchronised_clock_is_recognised(
    clock: Clock, capsys: pytest.CaptureFixture[str], kernel: tuple[int, int], active: str, leap: str
) -> None:
    clock.state, clock.maxerror = kernel
    clock.active, clock.leap = active, leap
    time_service.check(0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("active", ["chrony", "systemd-timesyncd", "ntpsec"])
def test_an_unsynchronised_time_service_is_refused_by_name(clock: Clock, active: str) -> None:
    clock.active = active
    with pytest.raises(NodeError, match=f"{active} has not synchronised the clock"):
        time_service.check(0)


def test_no_time_service_is_a_warning(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    time_service.check(0)
    assert "warning: no time service runs on this machine" in capsys.readouterr().err


def test_the_real_kernel_can_be_asked() -> None:
    assert time_service._synchronised() in (True, False)
