"""What a test needs of this computer, and what happens where that is missing."""

import os
import shutil
from typing import NoReturn

import pytest


def leave_out(reason: str) -> NoReturn:
    """Skip the test, saying what it needs; in CI, fail: nothing is left out there."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_program(name: str, package: str) -> None:
    """Leave the test out where a program is missing."""
    if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        leave_out(f"this test needs {name}: apt-get install {package}")
