"""How `--dist=loadfile` (pytest-xdist) shares tests out among workers."""

import pytest
from xdist.scheduler import LoadScopeScheduling


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
