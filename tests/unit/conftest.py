"""Unit tests may bring a certificate authority of their own; how many examples of a property are tried."""

from hypothesis import HealthCheck, settings

from tests.support.authority import own_authority

__all__ = ["own_authority"]

# The computer may have much else to do: how long an example takes, or to make one, says nothing.
_SLOW = settings(
    deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
# Few examples, the same each time: what `make test` says does not change from one run to the next.
settings.register_profile("test", _SLOW, max_examples=40, derandomize=True)
# Many, and others each time (`--hypothesis-seed` chooses them). A failure prints how to see its example again.
settings.register_profile("soak", _SLOW, max_examples=2000, derandomize=False, print_blob=True)
settings.load_profile("test")


def pytest_report_header() -> str:
    """pytest's own hook."""
    return f"properties: {settings().max_examples} examples each"
