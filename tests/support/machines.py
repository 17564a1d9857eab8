"""Real machines for tests: one lab per pytest session, machines made new for each test that asks.

The fixture `machines` is there for every module in tests/lab.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab import Lab, Machine, host

from .needs import leave_out

_PREFIX = "external-etcd-tests-"
_MEMORY = 12 << 30
"""Bytes in memory that all labs of a run of the tests fit into."""


class Machines:
    """The session's lab, and which of its machines a test has had.

    Attributes:
        lab: The lab, for isolate, kill, mirror and the rest.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._touched: set[str] = set()

    def fresh(self, count: int = 3, *, kept: str = "", of: int = 0) -> list[Machine]:
        """etcd-1 to etcd-`count`, each just installed and connected, with the default mirror; all others are off.

        With `kept` the first `of` machines are as they were when `Lab.keep` was told this label.
        """
        wanted = [f"etcd-{n}" for n in range(1, count + 1)]
        there = self.lab.machines
        for name in there:
            self.lab.heal(name)
        if self.lab.mirrored() != host.cache() / "etcd" and there:
            self.lab.mirror()
        # Down first, then wiped together: leftovers of one test must not talk to the machines of the next.
        self.lab.kill(*there)
        again = wanted[:of] if kept else []
        self.lab.wipe(*again, kept=kept, start=False)
        self.lab.wipe(*[n for n in wanted if n in there and n in self._touched and n not in again], start=False)
        found = self.lab.up(wanted)
        self._touched.update(wanted)
        return found

    def tampered_mirror(self, replace: dict[str, bytes]) -> Path:
        """Serve the default mirror with some files replaced (path -> content); returns the directory served.

        It may be changed at will. `fresh` or `lab.mirror()` end it.
        """
        directory = self.lab.dir / "tampered"
        shutil.rmtree(directory, ignore_errors=True)
        source = host.cache() / "etcd"
        for file in source.rglob("*"):
            link = directory / file.relative_to(source)
            if file.is_file():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)
        directory.mkdir(exist_ok=True)
        for name, content in replace.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # never through the link into the cache
            path.write_bytes(content)
        return self.lab.mirror(directory)


_SKEW = "/usr/lib/python3/dist-packages/skewed-clock.pth"


def skew_clock(machine: Machine, seconds: int) -> None:
    """Let every Python that starts on `machine` see a clock that is ahead by so many seconds; less than 0: behind.

    A guest has the host's clock. libfaketime would skew other programs, too, but sshd dies of it, and now and then it
    makes a sleep fail that has nothing to do with the clock.
    """
    line = f"import time; time.time = (lambda clock: lambda: clock() + {seconds})(time.time)\n"
    machine.run(f"cat >{_SKEW}", input=line, root=True)


def right_clock(machine: Machine) -> None:
    """End `skew_clock`."""
    machine.run(f"rm {_SKEW}", root=True)


@contextlib.contextmanager
def busy(machine: Machine) -> Iterator[None]:
    """Another etcd-node seems to be at work on this machine while the block runs; each verb waits for it."""
    lock = "/run/etcd-node.lock"
    held = f"for n in $(seq 100); do flock -n {lock} true || exit 0; sleep 0.05; done; exit 1"
    machine.run(f"systemd-run --unit=busy flock {lock} sleep infinity && {held}", root=True)
    try:
        yield
    finally:
        machine.run("systemctl stop busy", root=True)


def turned_away(machine: Machine) -> int:
    """How often somebody has come to sshd and gone without having logged in, or was not let in for too many others."""
    return int(machine.run("journalctl -q -u ssh | grep -cE 'preauth|drop connection' || true", root=True).stdout)


def fill_disk(machine: Machine, path: str = "/var/lib/etcd", size: str = "2m") -> None:
    """Mount a tmpfs of `size` on `path`: a disk that is soon full. `umount` ends it."""
    machine.run(f"mkdir -p {path} && mount -t tmpfs -o size={size},mode=0755 lab-small-disk {path}", root=True)


def as_they_are(machines: Sequence[Machine]) -> list[str]:
    """Everything that a run could have changed on machines with a member; the same text when it has not."""
    look = (
        "ls -A /opt/etcd /var/lib; cat /etc/systemd/system/etcd.service; "
        "cat /var/lib/etcd-node/*.json; sha256sum /etc/etcd/pki/*; readlink /usr/local/bin/etcdctl; "
        "systemctl show etcd -p MainPID -p ActiveEnterTimestampMonotonic"
    )
    return [machine.run(look, root=True).stdout for machine in machines]


def require_a_lab() -> None:
    """Leave the test out where no lab can run."""
    if reason := host.missing():
        leave_out(reason)


def _place() -> Path:
    """Where labs lie: in memory where there is room, else in the folder for temporary files.

    On one disk a machine waits with each fsync for what all others have to write, now and then for longer than a
    second. To the machines it makes no difference: what they are told to keep outlives their power cuts, not this
    computer's.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > _MEMORY
    return memory if roomy else Path(tempfile.gettempdir())


@contextlib.contextmanager
def temporary_lab(label: str = "") -> Iterator[Lab]:
    """A lab in a directory of its own, gone afterwards. Labs of test runs that were killed go first."""
    require_a_lab()
    parent = _place()
    with (parent / f"{_PREFIX}lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of pytest's workers, one clears away
        for old in parent.glob(f"{_PREFIX}*"):
            pid = old.name.removeprefix(_PREFIX).split("-")[0]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                Lab(old).down()
                shutil.rmtree(old, ignore_errors=True)
    lab = Lab(parent / f"{_PREFIX}{os.getpid()}-{label or 'session'}")
    try:
        yield lab
    finally:
        lab.down()
        shutil.rmtree(lab.dir, ignore_errors=True)


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    """The session's machines; none is made before `fresh` asks for it."""
    with temporary_lab() as lab:
        yield Machines(lab)
