"""Fixtures of the component tests."""

import pytest

from tests.support.authority import own_authority

__all__ = ["own_authority"]


@pytest.fixture(params=[True, False], ids=["preview", "update"])
def preview(request: pytest.FixtureRequest) -> bool:
    """Whether the program runs in a preview: a test with it runs for both."""
    return request.param  # type: ignore[no-any-return]
