"""For all tests: nothing is left out in CI, what only `make soak` runs, and how pytest-xdist shares tests out."""

import datetime

import pytest
from xdist.scheduler import LoadScopeScheduling

from .support.needs import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport", "pytest_xdist_make_scheduler"]

pytest_plugins = ["tests.support.spent"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """pytest's own hook."""
    # The date's, so that every day tries other moments, and all machines the same on one day.
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")
    parser.addoption("--soak", action="store_true", help="run what is marked `soak`, and nothing else")
    parser.addoption("--minutes", default="60", help="how long tests/soak goes on; default: %(default)s")
    parser.addoption("--seed", default=today, help="of what is random; default: today's date, %(default)s")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """pytest's own hook: hypothesis has the same seed."""
    if config.getoption("hypothesis_seed", None) is None and config.getoption("hypothesis_profile", None):
        config.option.hypothesis_seed = config.getoption("--seed")


def pytest_report_header(config: pytest.Config) -> str:
    """pytest's own hook."""
    return f"seed: {config.getoption('--seed')} (--seed={config.getoption('--seed')} tries the same again)"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """pytest's own hook: `make test` proves each promise once, `make soak` walks the rest."""
    soak = bool(config.getoption("--soak"))
    others = [item for item in items if (item.get_closest_marker("soak") is not None) != soak]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> str:
    """The seed of what is random; the first line of the run's output says it."""
    return str(request.config.getoption("--seed"))


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
