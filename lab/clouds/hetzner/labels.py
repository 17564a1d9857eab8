"""Labels, by the rules in the API's documentation."""

import re

from .errors import invalid

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_PREFIX = r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_KEY = re.compile(rf"(?:(?P<prefix>{_PREFIX})/)?{_NAME}")
_VALUE = re.compile(rf"(?:{_NAME})?")


def check(labels: object) -> dict[str, str]:
    """Labels of a request.

    Raises:
        ApiError: `invalid_input`.
    """
    if not isinstance(labels, dict):
        raise invalid("labels", "must be an object")
    for key, value in labels.items():
        match = _KEY.fullmatch(key)
        prefix = match["prefix"] if match else None
        if not match or len(prefix or "") > 253 or prefix == "hetzner.cloud":
            raise invalid("labels", f"the label key '{key}' is not valid")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise invalid("labels", f"the value of the label '{key}' is not valid")
    return dict(labels)
