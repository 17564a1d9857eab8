"""What a test needs from this computer, and what happens without it."""

import os
import shutil
from collections.abc import Generator
from typing import NoReturn, TypeVar

import pytest

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def leave_out(reason: str) -> NoReturn:
    """Skip the test with a reason. In CI every skip is a failure."""
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Pytest hook: in CI, a skipped test or an expected failure is a failure."""
    report = yield
    return _counted(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that is skipped as a whole."""
    report = yield
    return _counted(report)


def _counted(report: _Report) -> _Report:
    if os.environ.get("CI") and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"no test may be skipped in CI: {reason}"
        # The mark of an expected failure would keep it from being counted.
        vars(report).pop("wasxfail", None)
    return report


def require_program(name: str, package: str) -> None:
    """Skip the test if a program is missing."""
    if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        leave_out(f"this test needs {name}: apt-get install {package}")
