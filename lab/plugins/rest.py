"""A client for REST APIs like the Hetzner Cloud's: JSON, a bearer token, errors with codes, actions to wait for."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from .server import Call, ProviderError

_SECONDS: Final = 60
_RETRIES: Final = 5
# Codes that mean "later". The official client retries them too.
_LATER: Final = frozenset({"conflict", "locked", "rate_limit_exceeded"})
_LATER_STATUS: Final = frozenset({502, 504})


class RefusedError(ProviderError):
    """The API refused the request.

    Attributes:
        code: the API's name for the reason, such as `not_found`.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Api:
    """One account.

    Args:
        endpoint: address of the API with its version, `http://127.0.0.1:4000/v1`.
        token: the bearer token.
        poll: seconds between two requests for an action's state.
    """

    def __init__(self, endpoint: str, token: str, *, poll: float) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ProviderError(f"the endpoint {endpoint!r} is not an address such as http://127.0.0.1:4000/v1")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._base = parts.hostname, parts.port, parts.path.rstrip("/")
        self._endpoint = endpoint
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._poll = poll

    def call(
        self, call: Call, method: str, path: str, body: Mapping[str, Any] | None = None, *, later: Collection[str] = ()
    ) -> dict[str, Any]:
        """Send a request; returns the answer.

        Args:
            call: the operation that it belongs to; its end also ends waits between attempts.
            method: GET, POST, PUT or DELETE.
            path: below the endpoint, with its query, without a leading slash.
            body: sent as JSON.
            later: more codes to retry.

        Raises:
            RefusedError: the API refuses it, also after six attempts in half a minute.
            ProviderError: no answer, or the operation was cancelled.
        """
        attempt = 0
        while True:
            try:
                return self._once(method, path, body)
            except RefusedError as error:
                if attempt == _RETRIES or not (error.code in _LATER or error.code in later):
                    raise
            call.wait(2.0**attempt)
            attempt += 1

    def find(self, call: Call, path: str) -> dict[str, Any] | None:
        """The answer to GET, or None if there is no such resource."""
        try:
            return self.call(call, "GET", path)
        except RefusedError as error:
            if error.code == "not_found":
                return None
            raise

    def named(self, call: Call, kind: str, name: str, **query: str) -> dict[str, Any] | None:
        """The `kind` (`ssh_keys`) with this id or name that matches `query`, or None."""
        if name.isdigit() and (found := self.find(call, f"{kind}/{name}")):
            return dict(next(iter(found.values())))
        listed = self.call(call, "GET", f"{kind}?{urlencode({'name': name, **query})}")[kind]
        return dict(listed[0]) if listed else None

    def act(self, call: Call, path: str, body: Mapping[str, Any] | None = None, *, later: Collection[str] = ()) -> None:
        """Start an action and wait for its end. Raises what `call` and `settle` raise."""
        self.settle(call, self.call(call, "POST", path, body or {}, later=later))

    def settle(self, call: Call, answer: Mapping[str, Any]) -> None:
        """Wait for every action in an answer. Raises RefusedError if one fails."""
        actions = [answer.get("action"), *answer.get("actions", []), *answer.get("next_actions", [])]
        for action in actions:
            wait, current = self._poll, action
            while current is not None and current["status"] == "running":
                call.wait(wait)
                wait = min(wait * 2, _SECONDS)
                listed = self.call(call, "GET", f"actions?id={current['id']}")["actions"]
                current = listed[0] if listed else None
            if current is not None and current["status"] == "error":
                error = current.get("error") or {}
                code, message = error.get("code", "action_failed"), error.get("message", "Action failed")
                raise RefusedError(code, f"{message} ({code}, {current['command']}, action {current['id']})")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        import http.client  # noqa: PLC0415 (a preview never needs it)

        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=_SECONDS)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, f"{self._base}/{path}", text, self._headers)
            response = connection.getresponse()
            status, data = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ProviderError(f"{method} {self._endpoint}/{path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if status in _LATER_STATUS:
            raise RefusedError("conflict", f"{method} {path}: the API answered with HTTP status {status}")
        try:
            answer = json.loads(data) if data else {}
        except ValueError as error:
            raise ProviderError(
                f"{method} {self._endpoint}/{path}: HTTP status {status} without JSON. Is this the address of the API?"
            ) from error
        if status < 300:
            return dict(answer)
        raise _refusal(f"{method} {path}", status, answer.get("error") or {})


def _refusal(what: str, status: int, error: Mapping[str, Any]) -> RefusedError:
    code = error.get("code") or f"http_{status}"
    return RefusedError(code, f"{error.get('message') or 'no reason given'} ({code}; {what})")
