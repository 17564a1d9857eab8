"""The plugin's account: its settings, clients, and the waits of the official plugin."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from .. import sdk
from ..rest import RefusedError
from ..schema import Field
from ..server import Call, ProviderError, decoded
from ..wire import UNKNOWN, is_known

PACKAGE: Final = "pulumi_aws"
_OFFICIAL: Final = "amazonaws.com"
_SECONDS: Final = 600.0
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0
# Settings that this stand-in can ignore, because it makes no checks in advance.
_IGNORED: Final = ("skip", "s3", "retry", "tokenBucket", "max", "sts", "insecure")
_SERVED: Final = ("region", "accessKey", "secretKey", "token", "endpoints")
Found = TypeVar("Found")


def settings() -> Mapping[str, Field]:
    """The settings of the installed SDK."""
    return sdk.settings(PACKAGE)


@cache
def session() -> Any:
    """What all clients of this process share: mostly the descriptions of the services."""
    # Imported here: a preview mostly needs none, and the import takes long.
    import botocore.session  # noqa: PLC0415

    return botocore.session.get_session()


class Cloud:
    """The account and its region; available once the plugin is configured."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def configure(self, given: Mapping[str, Any]) -> None:
        """Apply the provider's settings; sends no request yet."""
        chosen = decoded(settings(), given)
        for name, value in chosen.items():
            if name not in _SERVED and not name.startswith((*_IGNORED, "version", "__")) and value:
                raise ProviderError(f"aws:{name}: this stand-in does not serve it; install the official plugin")
        if not is_known(chosen):
            raise ProviderError("the provider's settings must be known before a resource is created")
        self._settings = chosen
        _ = self.region

    @property
    def region(self) -> str:
        """The default region of all requests."""
        found = self._settings.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not found or found is UNKNOWN:
            raise ProviderError("missing region: set aws:region in the stack's configuration, or AWS_REGION")
        return str(found)

    def client(self, service: str) -> Any:
        """A client of a service."""
        with self._lock:
            if service not in self._clients:
                keys = {
                    "aws_access_key_id": self._settings.get("accessKey"),
                    "aws_secret_access_key": self._settings.get("secretKey"),
                    "aws_session_token": self._settings.get("token"),
                }
                self._clients[service] = session().create_client(
                    service, region_name=self.region, endpoint_url=self._endpoint(service), **keys
                )
            return self._clients[service]

    def ask(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
        """Send one request; returns its answer, all pages of it.

        Raises:
            RefusedError: the API refused; the code is `not_found` for everything that does not exist.
            ProviderError: no answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        client = self.client(service)
        try:
            if client.can_paginate(operation) and not any(name.endswith("Ids") for name in given):
                return dict(client.get_paginator(operation).paginate(**given).build_full_result())
            return dict(getattr(client, operation)(**given))
        except ClientError as error:
            about = error.response["Error"]
            text = f"{service.upper()}: {operation}: api error {about['Code']}: {about.get('Message', '')}"
            gone = about["Code"].startswith("NoSuch") or about["Code"].removesuffix("Error").endswith("NotFound")
            raise RefusedError("not_found" if gone else about["Code"], text) from None
        except BotoCoreError as error:
            raise ProviderError(f"{service.upper()}: {operation}: {error}") from None

    def _endpoint(self, service: str) -> str:
        given = {}
        for one in self._settings.get("endpoints") or []:
            given.update(one)
        found = given.get(service) or os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        found = found or os.environ.get("AWS_ENDPOINT_URL", "")
        if not found or (urlsplit(found).hostname or _OFFICIAL).endswith(_OFFICIAL):
            raise ProviderError(
                "this stand-in for the plugin aws must only be used with emulated clouds, which cost nothing: "
                f"set AWS_ENDPOINT_URL (or aws:endpoints, with {service}) to an emulator, or install the "
                "official plugin"
            )
        return str(found)


def until(call: Call, what: str, look: Callable[[], Found | None]) -> Found:
    """Poll `look` until it returns something.

    Raises:
        ProviderError: it took longer than ten minutes, or than the program allows.
    """
    wait, end = _FIRST_WAIT, time.monotonic() + _SECONDS
    while (found := look()) is None:
        if time.monotonic() > end:
            raise ProviderError(f"{what}: timeout after {_SECONDS:g} s")
        call.wait(wait)
        wait = min(wait * 1.5, _LONGEST_WAIT)
    return found


def patiently(call: Call, codes: Collection[str], ask: Callable[[], Found]) -> Found:
    """The answer of `ask`, repeated while it is refused with one of these codes.

    Raises:
        RefusedError: it is still refused after ten minutes, or for another reason.
    """
    wait, end = _FIRST_WAIT, time.monotonic() + _SECONDS
    while True:
        try:
            return ask()
        except RefusedError as error:
            if error.code not in codes or time.monotonic() > end:
                raise
        call.wait(wait)
        wait = min(wait * 1.5, _LONGEST_WAIT)
