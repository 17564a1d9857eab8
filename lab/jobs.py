"""Long-lived processes of the lab, each in its own cgroup subtree.

The cgroup is the process record: it holds nspawn and every process of its guest, even if nspawn was killed and left
the guest behind. There are no pid files that could be stale, and no process is ended by its name.

If systemd runs the computer, a job is a transient service (like systemd-nspawn@.service). Otherwise the lab creates
one cgroup per job in every hierarchy, because guests in the same root would change each other's cgroups.
"""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import host
from .errors import LabError

_CGROUPS = Path("/sys/fs/cgroup")
# Cgroup directories up to '--', then the program. setsid --fork: the job outlives the calling shell and has no parent
# that must reap it.
_JOIN = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift; exec setsid --fork "$@"'
# When a guest reboots, systemd-nspawn --keep-unit exits with 133 to request a restart.
_AGAIN = 133
_LOOP = f'while "$@"; [ $? = {_AGAIN} ]; do :; done'
_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


def systemd_runs_the_host() -> bool:
    """Whether PID 1 of this computer is systemd, as sd_booted(3) tests it."""
    return Path("/run/systemd/system").is_dir()


@dataclass(frozen=True)
class Job:
    """A process tree of the lab, identified by its name alone."""

    name: str

    def pids(self) -> list[int]:
        """Host pids of everything in the job's cgroup subtree."""
        found: set[int] = set()
        for root in self._places()[:1]:
            # A cgroup may vanish during the walk (pathlib would raise), or be threaded (EOPNOTSUPP).
            for place, _, _ in os.walk(root):
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in Path(place, "cgroup.procs").read_text().split())
        return sorted(found - {0})

    def alive(self) -> bool:
        """Whether any process of the job still runs."""
        return bool(self.pids())

    def guest_init(self) -> int | None:
        """The host pid of the guest's PID 1."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    # Two numbers: a container in the guest has a third, and its first process is 1 there, too.
                    if line.startswith("NSpid:") and line.split()[2:] == ["1"]:
                        return pid
        return None

    @property
    def init(self) -> int | None:
        """The host pid of the guest's PID 1 once it has its own namespaces.

        Before that it is systemd-nspawn, still in this computer's network and tree, and commands would run here.
        """
        pid = self.guest_init()
        with contextlib.suppress(OSError):
            if pid is not None and Path(f"/proc/{pid}/comm").read_text().strip() in ("systemd", "init"):
                return pid
        return None

    def inside(
        self, *argv: str, stdin: str | None = None, timeout: float = 30, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the job's guest as root, as on its console: no network, no login.

        Raises:
            LabError: there is no guest, it took too long, or (unless `check` is False) the program failed.
        """
        init = self.init
        if init is None:
            raise LabError(f"{self.name} is not running. Start it with `lab start`.")
        environment = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")
        return host.call(
            "nsenter", "-t", str(init), "-a", *environment, *argv, stdin=stdin, timeout=timeout, check=check
        )

    def command(self, program: str) -> tuple[int, list[str]] | None:
        """Pid and arguments of the job's process whose first arguments name the file `program`."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                if program in {Path(word).name for word in argv[:3]}:
                    return pid, argv
        return None

    def start(self, argv: list[str], log: Path) -> None:
        """Start `argv` as this job, with its output appended to `log`.

        Raises:
            LabError: the job already runs, or its cgroup cannot be created.
        """
        if self.alive():
            raise LabError(f"{self.name} already runs.")
        log.parent.mkdir(parents=True, exist_ok=True)
        if systemd_runs_the_host():
            self._start_as_service(argv, log)
        else:
            self._start_in_cgroups(argv, log)

    def kill(self, timeout: float = 10) -> None:
        """SIGKILL all processes of the job, wait for their end, and remove its cgroups.

        Raises:
            LabError: a process is still there after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        # Wait for the cgroups too: a killed `lab` may have left a shell that is only now about to join them.
        while (pids := self.pids()) or any(place.exists() for place in self._places()):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise LabError(
                    f"{self.name}: processes {pids} do not end, or its cgroups cannot be removed. They may hang in the "
                    "kernel: see `ps -o stat,wchan`."
                )
            if not pids:
                self.clean()
            time.sleep(0.02)
        self.clean()

    def press_power_button(self) -> bool:
        """Ask the guest for an orderly shutdown, without waiting; returns False if there is none."""
        nspawn = self.command("systemd-nspawn")
        if nspawn is not None:
            # nspawn passes this on to the guest's init as the signal for an orderly shutdown.
            with contextlib.suppress(ProcessLookupError):
                os.kill(nspawn[0], signal.SIGTERM)
        return nspawn is not None

    def cut_power(self) -> None:
        """End the guest and the job at once."""
        if init := self.guest_init():
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, signal.SIGKILL)
            self.wait_gone(2)  # nspawn notices, and removes its network interface and its files under /run
        self.kill()

    def wait_gone(self, timeout: float) -> bool:
        """Wait until no process of the job runs; returns False if one still does after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def clean(self) -> None:
        """Remove the cgroups of a job that has ended."""
        if systemd_runs_the_host():
            host.call("systemctl", "reset-failed", f"{self.name}.service", check=False)
            return
        for root in self._places():
            for directory, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)  # noqa: PTH106 - the path is what os.walk gave

    def _places(self) -> list[Path]:
        """The job's cgroup directory in each hierarchy; the first one lists its processes."""
        below = f"system.slice/{self.name}.service" if systemd_runs_the_host() else self.name
        return [hierarchy / below for hierarchy in _hierarchies()]

    def _start_as_service(self, argv: list[str], log: Path) -> None:
        self.clean()
        properties = ["Type=exec", "Delegate=yes", "KillMode=mixed", "TasksMax=infinity"]
        properties += [f"RestartForceExitStatus={_AGAIN}", f"SuccessExitStatus={_AGAIN}"]
        properties += [f"StandardOutput=append:{log}", f"StandardError=append:{log}"]
        options = [f"--property={text}" for text in properties]
        host.call("systemd-run", "--quiet", "--collect", f"--unit={self.name}.service", *options, "--", *argv)

    def _start_in_cgroups(self, argv: list[str], log: Path) -> None:
        places = self._places()
        for place in places:
            place.mkdir(exist_ok=True)
            if place.parent.name == "cpuset":
                # A new v1 cpuset is empty, and no process can join an empty one.
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (place / file).write_text((place.parent / file).read_text())
                (place / "cgroup.clone_children").write_text("1\n")
            elif place.parent == _CGROUPS:
                for controller in _CONTROLLERS:  # v2 only: the guest does without controllers that the parent lacks
                    with contextlib.suppress(OSError):
                        (_CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}\n")
        with log.open("ab") as output:
            joined = subprocess.run(
                ["/bin/sh", "-c", _JOIN, "sh", *map(str, places), "--", "/bin/sh", "-c", _LOOP, "sh", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                timeout=10,
                check=False,
            )
        if joined.returncode:
            raise LabError(f"{self.name} cannot be started in its own cgroup. See {log}.")


def leftover_jobs(lab: str) -> list[Job]:
    """Every job of `lab` that has a cgroup left, whether or not the lab's files know it."""
    names: set[str] = set()
    for hierarchy in _hierarchies():
        if systemd_runs_the_host():
            names.update(path.name.removesuffix(".service") for path in hierarchy.glob(f"system.slice/{lab}-*.service"))
        else:
            names.update(path.name for path in hierarchy.glob(f"{lab}-*"))
    return [Job(name) for name in sorted(names)]


def _hierarchies() -> list[Path]:
    """Roots of the cgroup hierarchies; the one with systemd's units comes first."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    roots = [path for path in sorted(_CGROUPS.iterdir()) if (path / "cgroup.procs").exists() and not path.is_symlink()]
    if not roots:
        raise LabError(f"There is no cgroup hierarchy under {_CGROUPS}. Mount one: systemd in a machine needs it.")
    return sorted(roots, key=lambda path: path.name not in {"unified", "systemd"})
