"""For all tests: nothing is left out in CI, and how `--dist=loadfile` (pytest-xdist) shares them out."""

import pytest
from xdist.scheduler import LoadScopeScheduling

from .support.needs import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport", "pytest_xdist_make_scheduler"]


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests stay together, on one worker's machines; so do all tests of the clouds.

    Two emulated clouds on one computer would want the same private networks.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        return "clouds" if "/clouds/" in file else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByFile | None:
    """xdist's own hook: None leaves the choice to `--dist`."""
    return _ByFile(config, log) if config.getvalue("dist") == "loadfile" else None
