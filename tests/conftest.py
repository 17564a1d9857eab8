"""For all tests: no skips in CI, the choice between `make test` and `make soak`, and how pytest-xdist splits tests."""

import datetime
import gc

import pytest
from xdist.scheduler import LoadScopeScheduling

from .support.needs import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport", "pytest_xdist_make_scheduler"]

pytest_plugins = ["tests.support.spent"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pytest hook."""
    # Today's date, so that every day tries other moments, and all computers try the same ones on a day.
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")
    parser.addoption("--soak", action="store_true", help="run only tests marked `soak`")
    parser.addoption("--minutes", default="60", help="duration of tests/soak; default: %(default)s")
    parser.addoption("--seed", default=today, help="seed of everything random; default: today's date, %(default)s")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Pytest hook: hypothesis gets the same seed, and Python looks for garbage less often."""
    gc.set_threshold(200_000)  # With the default, a tenth of the unit tests' time.
    if config.getoption("hypothesis_seed", None) is None and config.getoption("hypothesis_profile", None):
        config.option.hypothesis_seed = config.getoption("--seed")


def pytest_report_header(config: pytest.Config) -> str:
    """Pytest hook."""
    return f"seed: {config.getoption('--seed')} (repeat with --seed={config.getoption('--seed')})"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Pytest hook: `make test` proves each promise once, `make soak` runs the other cases."""
    soak = bool(config.getoption("--soak"))
    others = [item for item in items if (item.get_closest_marker("soak") is not None) != soak]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> str:
    """The seed of everything random; the run's output begins with it."""
    return str(request.config.getoption("--seed"))


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps a file's tests on one worker and its machines; all tests of the clouds share one worker.

    Two emulated clouds on one computer would need the same private networks.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        return "clouds" if "/clouds/" in file else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByFile | None:
    """xdist hook: None leaves the choice to `--dist`."""
    return _ByFile(config, log) if config.getvalue("dist") == "loadfile" else None
