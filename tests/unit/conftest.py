"""Unit tests may bring their own CA; and how many examples of a property are tried."""

from hypothesis import HealthCheck, configuration, settings

from tests.support.authority import own_authority
from tools.base import cache

__all__ = ["own_authority"]

# In the project's cache, so that a fresh clone reuses tables of Unicode.
configuration.set_hypothesis_home_dir(cache() / "hypothesis")
# On a busy computer, the time of an example or of its generation means nothing.
_SLOW = settings(
    deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
# Few examples, the same each time: the result of `make test` does not change from one run to the next.
settings.register_profile("test", _SLOW, max_examples=40, derandomize=True)
# Many, and new ones each time (`--hypothesis-seed` chooses them). A failure prints how to repeat its example.
settings.register_profile("soak", _SLOW, max_examples=2000, derandomize=False, print_blob=True)
settings.load_profile("test")


def pytest_report_header() -> str:
    """Pytest hook."""
    return f"properties: {settings().max_examples} examples each"
