"""Whole numbers that come from the engine, whose protocol has only floats."""

from collections.abc import Mapping
from typing import Any


def whole(value: Any) -> Any:
    """The value with integers where the protocol, which has only floats, has a number without a fraction."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(each) for each in value]
    if isinstance(value, Mapping):
        return {key: whole(each) for key, each in value.items()}
    return value
