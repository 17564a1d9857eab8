"""The emulator as its user sees it: start, where it is, what it has, stop."""

import contextlib
import ipaddress
import json
import secrets
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import LabError
from ...jobs import Job
from ...lab import REPO, Lab
from ...machine import PORT, Machine
from ..guest import Guest

_TOKEN_LENGTH = 64  # what clients expect of a token
_START_SECONDS = 30.0


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class CloudMachine:
    """A server of an emulated cloud, reached as by its console: as root, whatever its network and its users are.

    Attributes:
        name: Its name in the cloud.
        address: Its public address of IPv4, or None.
        private_addresses: Its addresses in networks.
    """

    name: str
    address: str | None
    private_addresses: tuple[str, ...]
    guest: Guest

    def run(
        self,
        command: str | Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - as in subprocess.run
        timeout: float = 60,
        check: bool = True,
        root: bool = True,  # noqa: ARG002 - as in Machine; it is always root
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root: a line for the shell, or a list of words.

        Raises:
            LabError: the server is off, or the command failed or took too long.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        return self.guest.inside("sh", "-c", line, stdin=input, timeout=timeout, check=check)

    def wait_for_cloud_init(self, timeout: float = 120) -> str:
        """Wait until cloud-init is done with the first boot; returns its last status.

        Raises:
            LabError: it takes too long.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            # Early in the boot there is no systemd yet that nsenter's program could live under.
            with contextlib.suppress(LabError):
                done = self.run("cloud-init status", check=False, timeout=30)
                status = done.stdout.partition("status: ")[2].strip().splitlines()
                if status and status[0] in ("done", "error", "disabled"):
                    return status[0]
            time.sleep(0.2)
        raise LabError(f"{self.name}: cloud-init is not done after {timeout:g} s.")

    def answers(self, timeout: float = 1) -> bool:
        """Whether its sshd greets at the public address."""
        try:
            with socket.create_connection((self.address or "", PORT), timeout=timeout) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


class HetznerCloud:
    """The emulated cloud in a directory, which is a lab of its own. Making this object changes nothing.

    Args:
        directory: Where everything is kept; default $LAB_DIR, or `.lab` in the repository.
        say: Called with a line of text for each step that takes a while; default: nothing.

    Attributes:
        lab: The lab whose bridge is the public network, for strangers: `cloud.stranger()`.
    """

    def __init__(self, directory: Path | str | None = None, say: Callable[[str], None] = _silent) -> None:
        self.lab = Lab(directory, say)
        self._say = say
        self._home = self.lab.dir / "hetzner"
        self._job = Job(f"{self.lab.id}-hetzner")

    @property
    def running(self) -> bool:
        """Whether the API is served."""
        return self._job.alive()

    @property
    def endpoint(self) -> str:
        """The URL for clients, as `http://127.0.0.1:40123/v1`.

        Raises:
            LabError: it was not started.
        """
        return self._read("endpoint")

    @property
    def token(self) -> str:
        """The one token that is right, of 64 characters.

        Raises:
            LabError: it was not started.
        """
        return self._read("token")

    def start(self) -> "HetznerCloud":
        """Serve the API, detached from this process; nothing happens when it is served. What there was is kept.

        Raises:
            LabError: this computer cannot run a lab, or the emulator does not start.
        """
        from ... import image  # noqa: PLC0415

        self.lab.open()
        if self.running:
            return self
        image.ensure(self._say, image.CLOUD)
        self._home.mkdir(mode=0o755, exist_ok=True)
        token = self._home / "token"
        if not token.exists():
            token.touch(mode=0o600)
            token.write_text(secrets.token_hex(_TOKEN_LENGTH // 2) + "\n")
        (self._home / "endpoint").unlink(missing_ok=True)
        log = self.lab.dir / "logs" / "hetzner.log"
        argv = ["env", f"--chdir={REPO}", sys.executable]
        self._job.start([*argv, "-m", "lab.clouds.hetzner.program", str(self.lab.dir)], log)
        deadline = time.monotonic() + _START_SECONDS
        while not (self._home / "endpoint").exists():
            if not self.running or time.monotonic() > deadline:
                words = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
                raise LabError(f"the emulator did not start: {' '.join(words)} See {log}.")
            time.sleep(0.05)
        return self

    def interrupt(self) -> None:
        """End the API alone, as a crash would. Servers run on; `start` serves the same account again."""
        self._job.kill()

    def stop(self) -> None:
        """Remove everything: servers, volumes, networks, the API, the directory."""
        self._job.kill()
        self.lab.down()

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

    def stranger(self, name: str = "stranger") -> Machine:
        """A machine on the public network that is none of the cloud's: `address` is on the lab's bridge as ever.

        Its address there is `stranger_address`.
        """
        machine = self.lab.up([name])[0]
        address = self.stranger_address(machine)
        machine.run(f"ip address replace {address}/24 dev host0", root=True)
        return machine

    def stranger_address(self, machine: Machine) -> str:
        """The address in the public range that `stranger` gave a machine."""
        return str(self.public.network_address + 128 + machine.slot)

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

    def _read(self, name: str) -> str:
        try:
            return (self._home / name).read_text().strip()
        except FileNotFoundError:
            raise LabError(f"no emulated cloud is up in {self.lab.dir}: `python3 -m lab cloud hetzner up`.") from None
