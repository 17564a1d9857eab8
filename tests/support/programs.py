"""Programs of this computer that a test needs."""

import os
import shutil

import pytest


def require_program(name: str, package: str) -> None:
    """Skip the test where a program is missing; in CI, fail: nothing is left out there."""
    if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        missing = f"this test needs {name}: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
