"""A bare script that does the program's steps with nothing but ssh: a lower bound for times."""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab import Machine

SCRIPT = Path(__file__).with_name("bare_script.sh")


def archive(version: str) -> str:
    """The URL of a release for the lab's machines."""
    return f"http://releases.lab/v{version}/etcd-v{version}-linux-amd64.tar.gz"


class Bare:
    """Runs the script's verbs for one cluster.

    Attributes:
        directory: the cluster's CA, certificates and keys.
    """

    def __init__(self, directory: Path, login: Machine) -> None:
        self.directory = directory
        self._login = login

    def __call__(self, verb: str, what: str, machines: Sequence[Machine]) -> float:
        """Run a verb; returns the seconds it took. Raises CalledProcessError."""
        members = [f"{machine.name}={machine.address}" for machine in machines]
        words: list[str | Path] = [SCRIPT, self.directory, self._login.key_file, self._login.known_hosts]
        start = time.monotonic()
        subprocess.run([*words, verb, what, *members], check=True, timeout=120)
        return time.monotonic() - start


@contextlib.contextmanager
def bare_script(parent: Path, machines: Sequence[Machine]) -> Iterator[Bare]:
    """The script, with a directory for a cluster on these machines."""
    with tempfile.TemporaryDirectory(dir=parent) as scratch:
        yield Bare(Path(scratch), machines[0])
