"""Real machines for tests: one lab per pytest session, new machines for each test that uses `fresh`.

All modules in tests/lab have the fixture `machines`.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab import Lab, Machine, host
from tools.base import cache

from .etcd import PID
from .needs import leave_out

_PREFIX = "external-etcd-tests-"
_MEMORY = 12 << 30
"""Bytes in memory that suffice for all labs of a test run."""


class Machines:
    """The session's lab, and the machines that a test has used.

    Attributes:
        lab: for isolate, kill, mirror and so on.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._touched: set[str] = set()

    def fresh(self, count: int = 3, *, kept: str = "", of: int = 0) -> list[Machine]:
        """etcd-1 to etcd-`count`, newly installed and connected, with the default mirror; all others are off.

        With `kept` the first `of` machines have the disks that `Lab.keep` saved under this label.
        """
        wanted = [f"etcd-{n}" for n in range(1, count + 1)]
        there = self.lab.machines
        for name in there:
            self.lab.heal(name)
        if self.lab.mirrored() != cache() / "etcd" and there:
            self.lab.mirror()
        # All go down before any is wiped: old machines of one test must not talk to new ones of the next.
        self.lab.kill(*there)
        again = wanted[:of] if kept else []
        self.lab.wipe(*again, kept=kept, start=False)
        self.lab.wipe(*[n for n in wanted if n in there and n in self._touched and n not in again], start=False)
        found = self.lab.up(wanted)
        self._touched.update(wanted)
        return found

    def tampered_mirror(self, replace: dict[str, bytes]) -> Path:
        """Serve the default mirror with some files replaced (path -> content); returns the served directory.

        Tests may change it. `fresh` or `lab.mirror()` end it.
        """
        directory = self.lab.dir / "tampered"
        shutil.rmtree(directory, ignore_errors=True)
        source = cache() / "etcd"
        for file in source.rglob("*"):
            link = directory / file.relative_to(source)
            if file.is_file():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)
        directory.mkdir(exist_ok=True)
        for name, content in replace.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # otherwise the write would follow the link into the cache
            path.write_bytes(content)
        return self.lab.mirror(directory)


_SKEW = "/usr/lib/python3/dist-packages/skewed-clock.pth"


def skew_clock(machine: Machine, seconds: int) -> None:
    """Shift the clock of every Python that starts on `machine` by some seconds; a negative value is behind.

    A guest has the host's clock. libfaketime would also skew other programs, but sshd crashes with it, and sleeps fail
    occasionally.
    """
    line = f"import time; time.time = (lambda clock: lambda: clock() + {seconds})(time.time)\n"
    machine.run(f"cat >{_SKEW}", input=line, root=True)


def right_clock(machine: Machine) -> None:
    """End `skew_clock`."""
    machine.run(f"rm {_SKEW}", root=True)


_SLOW = "/usr/lib/python3/dist-packages/slow-%s.pth"


def slow_disk(machine: Machine, milliseconds: int) -> None:
    """Let each synced write that a Python on `machine` makes take that much longer: etcd-node measures such a disk."""
    # A function of such a line does not see its names.
    line = f"import os, time; os.fdatasync = lambda _, sleep=time.sleep: sleep({milliseconds / 1000})\n"
    machine.run(f"cat >{_SLOW % 'disk'}", input=line, root=True)


def slow_links(machine: Machine, milliseconds: int) -> None:
    """Let the kernel tell every Python on `machine` this round trip of a connection (`tcp_info`)."""
    told = f"__import__('struct').pack('=68xI', {milliseconds * 1000})"
    line = (
        "import socket; socket.socket.getsockopt = (lambda real: lambda line, level, option, *size: "
        f"{told} if (level, option) == ({socket.IPPROTO_TCP}, {socket.TCP_INFO}) else real(line, level, option, *size))"
        "(socket.socket.getsockopt)\n"
    )
    machine.run(f"cat >{_SLOW % 'links'}", input=line, root=True)


@contextlib.contextmanager
def busy(machine: Machine) -> Iterator[None]:
    """Hold etcd-node's lock on this machine during the block, so that every verb waits."""
    lock = "/run/etcd-node.lock"
    held = f"for n in $(seq 100); do flock -n {lock} true || exit 0; sleep 0.05; done; exit 1"
    machine.run(f"systemd-run --unit=busy flock {lock} sleep infinity && {held}", root=True)
    try:
        yield
    finally:
        machine.run("systemctl stop busy", root=True)


def turned_away(machine: Machine) -> int:
    """The number of ssh connections that ended before a login, or that sshd dropped."""
    return int(machine.run("journalctl -q -u ssh | grep -cE 'preauth|drop connection' || true", root=True).stdout)


def fill_disk(machine: Machine, path: str = "/var/lib/etcd", size: str = "2m") -> None:
    """Mount a tmpfs of `size` on `path`, which fills up quickly. `umount` ends it."""
    machine.run(f"mkdir -p {path} && mount -t tmpfs -o size={size},mode=0755 lab-small-disk {path}", root=True)


def as_they_are(machines: Sequence[Machine]) -> list[str]:
    """Everything on members' machines that a run could change; compare it before and after."""
    look = (
        "ls -A /opt/etcd /var/lib; cat /etc/systemd/system/etcd.service /etc/kubernetes/manifests/etcd.yaml; "
        "cat /var/lib/etcd-node/*.json; sha256sum /etc/etcd/pki/*; readlink /usr/local/bin/etcdctl; "
        f"echo $({PID}); systemctl show etcd -p ActiveEnterTimestampMonotonic"
    )
    return [machine.run(look, root=True).stdout for machine in machines]


def require_a_lab() -> None:
    """Skip the test if this computer cannot run a lab."""
    if reason := host.missing():
        leave_out(reason)


def _place() -> Path:
    """The parent directory of labs: in memory if there is room, else for temporary files.

    On one disk, each fsync waits for the writes of all machines, sometimes for longer than a second. Data in memory
    survives a machine's power cut all the same, only not this computer's.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > _MEMORY
    return memory if roomy else Path(tempfile.gettempdir())


@contextlib.contextmanager
def temporary_lab(label: str = "", kind: type[Lab] = Lab, *, memory: bool = True) -> Iterator[Lab]:
    """A lab in a temporary directory. First removes the labs of killed test runs.

    Args:
        memory: whether its disks may be in memory.
    """
    require_a_lab()
    parent = _place() if memory else Path(tempfile.gettempdir())
    with (parent / f"{_PREFIX}lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # only one of pytest's workers cleans up
        for old in parent.glob(f"{_PREFIX}*"):
            pid = old.name.removeprefix(_PREFIX).split("-")[0]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                Lab(old).down()
                shutil.rmtree(old, ignore_errors=True)
    lab = kind(parent / f"{_PREFIX}{os.getpid()}-{label or 'session'}")
    try:
        yield lab
    finally:
        lab.down()
        shutil.rmtree(lab.dir, ignore_errors=True)


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    """The session's machines; none is created before a test calls `fresh`."""
    with temporary_lab() as lab:
        yield Machines(lab)
