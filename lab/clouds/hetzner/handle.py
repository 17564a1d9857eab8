"""The emulated Hetzner Cloud, as tests and the command line use it."""

import json
import urllib.error
import urllib.request
from typing import Any, ClassVar

from ...errors import LabError
from ..emulator import CloudMachine, EmulatedCloud
from ..guest import guest_of

_KINDS = ("networks", "ssh_keys", "servers", "placement_groups", "firewalls", "volumes", "primary_ips")


class HetznerCloud(EmulatedCloud):
    """The emulated Hetzner Cloud in a directory."""

    kind: ClassVar[str] = "hetzner"

    @property
    def token(self) -> str:
        """The only valid token, of 64 characters.

        Raises:
            LabError: it was not started.
        """
        return self._read("token")

    def environment(self) -> dict[str, str]:
        """The environment of a client: endpoint and token."""
        return {"HCLOUD_ENDPOINT": self.endpoint, "HCLOUD_TOKEN": self.token}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the API without a client.

        Raises:
            LabError: it was refused.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.endpoint}{path}", data, headers, method=method)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                content = response.read()
        except urllib.error.HTTPError as error:
            raise LabError(f"{method} {path}: {error.code} {error.read().decode()}") from None
        return json.loads(content) if content else None

    def resources(self) -> dict[str, list[str]]:
        """Names of everything in the account, by kind, with primary IPs and without actions."""
        return {kind: [row["name"] for row in self._all(kind)] for kind in _KINDS}

    def machines(self) -> list[CloudMachine]:
        return [self._machine(row) for row in self._all("servers")]

    def _machine(self, row: dict[str, Any]) -> CloudMachine:
        four = row["public_net"]["ipv4"]
        private = tuple(net["ip"] for net in row["private_net"])
        guest = guest_of(self.lab, row["id"])
        return CloudMachine(str(row["id"]), row["name"], four["ip"] if four else None, private, guest)

    def _all(self, kind: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        page: int | None = 1
        while page:
            found = self.call("GET", f"/{kind}?page={page}&per_page=50")
            rows += found[kind]
            page = found["meta"]["pagination"]["next_page"]
        return rows
