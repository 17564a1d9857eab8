"""An emulated cloud as tests and the command line use it; each cloud has a subclass."""

import contextlib
import ipaddress
import shlex
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from ..errors import LabError
from ..jobs import Job
from ..lab import REPO, Lab
from ..machine import Machine, has_sshd
from .guest import Guest

_START_SECONDS = 30.0
Cloud = TypeVar("Cloud", bound="EmulatedCloud")


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class CloudMachine:
    """A server of an emulated cloud with root on its console, which needs neither its network nor its users.

    Attributes:
        id: Its id in the cloud.
        name: Its name in the cloud.
        address: Its public IPv4 address, or None.
        private_addresses: Its addresses in networks.
    """

    id: str
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
        """Wait until cloud-init has finished the first boot; returns its last status.

        Raises:
            LabError: it takes too long.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            # Early in the boot nsenter fails, because systemd does not run yet.
            with contextlib.suppress(LabError):
                done = self.run("cloud-init status", check=False, timeout=30)
                status = done.stdout.partition("status: ")[2].strip().splitlines()
                if status and status[0] in ("done", "error", "disabled"):
                    return status[0]
            time.sleep(0.2)
        raise LabError(f"{self.name}: cloud-init has not finished after {timeout:g} s.")

    def answers(self, timeout: float = 1) -> bool:
        """Whether its sshd answers at the public address."""
        return has_sshd(self.address or "", timeout)


class EmulatedCloud(ABC):
    """The emulated cloud in a directory, which is a lab of its own. Creating this object changes nothing.

    The account is in the memory of the API's process: when that ends, the next start begins with an empty account.

    Args:
        directory: All files of the cloud; default $LAB_DIR, or `.lab` in the repository.
        say: Called with a line of text for each slow step; default: nothing.

    Attributes:
        kind: Its name on the command line.
        lab: The lab whose bridge is the public network, for strangers: `cloud.stranger()`.
    """

    kind: ClassVar[str]

    def __init__(self, directory: Path | str | None = None, say: Callable[[str], None] = _silent) -> None:
        self.lab = Lab(directory, say)
        self._say = say
        self._home = self.lab.dir / self.kind
        self._job = Job(f"{self.lab.id}-{self.kind}")

    @property
    def running(self) -> bool:
        """Whether the API is running."""
        return self._job.alive()

    @property
    def endpoint(self) -> str:
        """The URL for clients.

        Raises:
            LabError: it was not started.
        """
        return self._read("endpoint")

    @property
    def public(self) -> ipaddress.IPv4Network:
        """The range of public addresses; this computer has the first one."""
        return ipaddress.IPv4Network(self._read("public"))

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment of a client: address and credentials.

        Raises:
            LabError: it was not started.
        """

    @abstractmethod
    def resources(self) -> dict[str, list[str]]:
        """Names of everything in the account, by kind."""

    @abstractmethod
    def machines(self) -> list[CloudMachine]:
        """All servers that still exist."""

    def machine(self, server: int | str) -> CloudMachine:
        """The server with that id or name.

        Raises:
            LabError: there is none.
        """
        for machine in self.machines():
            if str(server) in (machine.id, machine.name):
                return machine
        raise LabError(f"There is no server {server!r} in the emulated cloud in {self.lab.dir}.")

    def start(self: Cloud) -> Cloud:
        """Serve the API, detached from this process; does nothing if it is already served.

        Raises:
            LabError: this computer cannot run a lab, or the emulator does not start.
        """
        from .. import image  # noqa: PLC0415

        if not self.running and self._home.exists():
            self.stop()  # the account was lost with the API's process
        self.lab.open()
        if self.running:
            return self
        image.ensure(self._say, image.CLOUD)
        self._home.mkdir(mode=0o755, exist_ok=True)
        log = self.lab.dir / "logs" / f"{self.kind}.log"
        argv = ["env", f"--chdir={REPO}", sys.executable]
        self._job.start([*argv, "-m", f"lab.clouds.{self.kind}.program", str(self.lab.dir)], log)
        deadline = time.monotonic() + _START_SECONDS
        while not (self._home / "endpoint").exists():
            if not self.running or time.monotonic() > deadline:
                words = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
                raise LabError(f"The emulator did not start: {' '.join(words)} See {log}.")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """Remove everything: machines, volumes, networks, the API, the directory."""
        self._job.kill()
        self.lab.down()

    def stranger(self, name: str = "stranger") -> Machine:
        """A machine on the public network outside the cloud; `address` is on the lab's bridge as usual.

        Its public address is `stranger_address`.
        """
        machine = self.lab.up([name])[0]
        address = self.stranger_address(machine)
        machine.run(f"ip address replace {address}/24 dev host0", root=True)
        return machine

    def stranger_address(self, machine: Machine) -> str:
        """The public address that `stranger` gave a machine."""
        return str(self.public.network_address + 128 + machine.slot)

    def _read(self, name: str) -> str:
        try:
            return (self._home / name).read_text().strip()
        except FileNotFoundError:
            command = f"`python3 -m lab cloud {self.kind} up`"
            raise LabError(f"No emulated cloud is running in {self.lab.dir}. Start one with {command}.") from None
