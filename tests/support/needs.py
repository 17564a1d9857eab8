"""What a test needs of this computer, and what happens where that is missing."""

import os
import shutil
from collections.abc import Generator
from typing import NoReturn, TypeVar

import pytest

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def leave_out(reason: str) -> NoReturn:
    """Skip the test, saying what it needs. In CI that is a failure, as any other skip is."""
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """pytest's own hook: in CI, what was skipped or was expected to fail has failed."""
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
        report.longrepr = f"nothing is left out in CI: {reason}"
        # The mark of an expected failure, which keeps one from being counted.
        vars(report).pop("wasxfail", None)
    return report


def require_program(name: str, package: str) -> None:
    """Leave the test out where a program is missing."""
    if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        leave_out(f"this test needs {name}: apt-get install {package}")
