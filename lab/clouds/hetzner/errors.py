"""The errors of the emulated API."""

from collections.abc import Mapping
from typing import Any

# Status by code, for codes that always have the same one (from the overview in the API's documentation).
_STATUS = {
    "json_error": 400,
    "unauthorized": 401,
    "resource_limit_exceeded": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "uniqueness_error": 409,
    "deprecated_api_endpoint": 410,
    "locked": 423,
    "server_error": 500,
}


class ApiError(Exception):
    """A refused request.

    Args:
        code: As documented.
        details: As documented for the code.
        status: The HTTP status; by default the documented one of the code, 422 for codes of single operations.
    """

    def __init__(
        self, code: str, message: str, details: Mapping[str, Any] | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or _STATUS.get(code, 422)
        self.body = {"error": {"code": code, "message": message, "details": dict(details or {}) or None}}


def invalid(field: str, reason: str) -> ApiError:
    """An `invalid_input` about one field of the request."""
    return ApiError(
        "invalid_input",
        f"invalid input in field '{field}': {reason}",
        {"fields": [{"name": field, "messages": [reason]}]},
    )


def not_unique(field: str, message: str) -> ApiError:
    """A `uniqueness_error` about one field of the request."""
    return ApiError("uniqueness_error", message, {"fields": [{"name": field}]})


def missing(kind: str, identifier: object) -> ApiError:
    """A `not_found`."""
    return ApiError("not_found", f"{kind} with ID '{identifier}' not found")
