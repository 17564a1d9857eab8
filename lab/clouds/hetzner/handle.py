"""The emulated Hetzner Cloud as its user sees it."""

import ipaddress
import json
import secrets
import urllib.error
import urllib.request
from typing import Any, ClassVar

from ...errors import LabError
from ..emulator import CloudMachine, EmulatedCloud
from ..guest import Guest

_TOKEN_LENGTH = 64  # what clients expect of a token


class HetznerCloud(EmulatedCloud):
    """The emulated Hetzner Cloud in a directory. An API that ended goes on where it was when it is started again."""

    kind: ClassVar[str] = "hetzner"

    @property
    def token(self) -> str:
        """The one token that is right, of 64 characters.

        Raises:
            LabError: it was not started.
        """
        return self._read("token")

    def environment(self) -> dict[str, str]:
        """What a client's environment needs: endpoint and token."""
        return {"HCLOUD_ENDPOINT": self.endpoint, "HCLOUD_TOKEN": self.token}

    def interrupt(self) -> None:
        """End the API alone, as a crash would. Servers run on; `start` serves the same account again."""
        self._job.kill()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the API, for looking at it without a client.

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
        """Names of everything in the account, by kind; primary IPs are among them, actions are not."""
        kinds = ("networks", "ssh_keys", "servers", "placement_groups", "firewalls", "volumes", "primary_ips")
        return {kind: [row["name"] for row in self._all(kind)] for kind in kinds}

    def machines(self) -> list[CloudMachine]:
        """All servers."""
        return [self.machine(row["id"]) for row in self._all("servers")]

    def machine(self, server: int | str) -> CloudMachine:
        """The server of that id or name.

        Raises:
            LabError: there is none.
        """
        for row in self._all("servers"):
            if str(row["id"]) == str(server) or row["name"] == server:
                four = row["public_net"]["ipv4"]
                number = row["id"]
                return CloudMachine(
                    row["name"],
                    four["ip"] if four else None,
                    tuple(net["ip"] for net in row["private_net"]),
                    Guest(
                        f"{self.lab.id}-s{number}",
                        self.lab.dir / "machines" / f"s{number}",
                        self.lab.dir / "logs" / f"s{number}.log",
                    ),
                )
        raise LabError(f"there is no server {server!r} in the emulated cloud in {self.lab.dir}.")

    @property
    def public(self) -> ipaddress.IPv4Network:
        """The range of public addresses; this computer has the first one in it."""
        state = json.loads((self._home / "state.json").read_text())
        return ipaddress.IPv4Network(state["public"])

    def _all(self, kind: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        page: int | None = 1
        while page:
            found = self.call("GET", f"/{kind}?page={page}&per_page=50")
            rows += found[kind]
            page = found["meta"]["pagination"]["next_page"]
        return rows

    def _prepare(self) -> None:
        token = self._home / "token"
        if not token.exists():
            token.touch(mode=0o600)
            token.write_text(secrets.token_hex(_TOKEN_LENGTH // 2) + "\n")
