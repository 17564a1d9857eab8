"""A machine of a lab: its name, address, ssh and console."""

import shlex
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .jobs import Job

USER = "operator"
PORT = 22


@dataclass(frozen=True)
class Machine:
    """A machine of a lab. `wipe` changes nothing of this, except for the host key if a new one was requested.

    Attributes:
        name: Host name, unique in the lab.
        slot: Its place in the lab, 1 or more; its address and its names on the computer follow from it.
        address: IPv4 address on the lab's bridge.
        key_file: The private key of the user `operator`.
        known_hosts: A file in ssh's known_hosts format with this machine's host key.
        host_key: Public host key, "ssh-ed25519 AAAA...".
        job: The processes that run it on this computer.
    """

    name: str
    slot: int
    address: str
    key_file: Path
    known_hosts: Path
    host_key: str
    job: Job

    def ssh_argv(self, *options: str) -> list[str]:
        """The ssh command line up to and including the host; a command may follow."""
        settings = {
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "HostKeyAlgorithms": "ssh-ed25519",
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "LogLevel": "ERROR",
        }
        argv = ["ssh", "-F", "none", "-i", str(self.key_file)]
        for key, value in settings.items():
            argv += ["-o", f"{key}={value}"]
        return [*argv, *options, f"{USER}@{self.address}"]

    def run(
        self,
        command: str | Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - as in subprocess.run
        timeout: float = 60,
        check: bool = True,
        root: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine, as the operator over ssh, or as root on its console.

        Args:
            command: A line for the machine's shell, or a list of words that no shell interprets.
            input: Text for its stdin, which is empty otherwise.
            timeout: Seconds for all of it.
            check: Raise if the exit code is not 0.
            root: On the console, which needs no network and no sshd, and a tenth of the time.

        Raises:
            LabError: it failed (with its output), or took too long; or (root) the machine is off.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        if root:
            done = self.job.inside("sh", "-c", line, stdin=input, timeout=timeout, check=False)
        else:
            done = self._over_ssh(line, input, timeout)
        if check and done.returncode:
            words = "\n".join(part.strip() for part in (done.stdout, done.stderr) if part.strip())
            raise LabError(f"{self.name}: `{line}` exited with {done.returncode}: {words}")
        return done

    def _over_ssh(self, line: str, text: str | None, timeout: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self.ssh_argv("-T"), "--", line],
                input=text,
                stdin=subprocess.DEVNULL if text is None else None,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name}: `{line}` did not end within {timeout:g} s.") from None

    def answers(self, timeout: float = 1) -> bool:
        """Whether the machine's sshd answers within `timeout` seconds."""
        return has_sshd(self.address, timeout)


def has_sshd(address: str, timeout: float) -> bool:
    """Whether an sshd answers at an address within `timeout` seconds."""
    try:
        with socket.create_connection((address, PORT), timeout=timeout) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
