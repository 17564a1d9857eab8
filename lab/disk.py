"""A machine's disk: an overlayfs of the base tree and what the machine writes, or a plain copy.

In a machine's directory, `disk/` is the disk: `upper`, `work`, and `ready`, which records its kind. `root/` is its
mount point.
"""

import contextlib
import os
import shutil
import uuid
from pathlib import Path

from . import host
from .errors import LabError

_NSPAWN = Path("/run/systemd/nspawn")


class Disk:
    """The disk in `directory`; it belongs to one machine."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self._disk = directory / "disk"
        self._ready = self._disk / "ready"

    @property
    def kind(self) -> str | None:
        """ "overlay", "copy", or None if there is no complete disk."""
        with contextlib.suppress(FileNotFoundError):
            return self._ready.read_text().split()[0]
        return None

    @property
    def beside(self) -> Path:
        """A directory of the machine that is not on an overlay, because containerd stacks overlays of its own on it."""
        return self._disk / "beside"

    def create(self, base: Path, kept: Path | None = None) -> None:
        """Create an empty disk on top of `base` and mount it. Call `complete` once its files are written.

        With `kept`, a directory that `keep` filled from a disk on the same base, the disk starts with a copy of it.
        """
        self.destroy()
        self.root.mkdir(parents=True)
        self._disk.mkdir()
        if not self._mount(base, kept):
            # The lab's directory is itself on overlayfs (in a container), or on a network file system.
            self.root.rmdir()
            host.call("cp", "-a", "--reflink=auto", str(kept or base), str(self.root), timeout=300)

    def complete(self, base: Path, kept: Path | None = None) -> None:
        """Record that the disk can boot: from now on an interrupted run keeps it."""
        kind = "overlay" if self.root.is_mount() else "copy"
        self._ready.write_text(f"{kind} {base}\n{kept or ''}\n")

    def keep(self, target: Path) -> None:
        """Move what is on the disk of a stopped machine to `target`; the machine then has no disk."""
        copied = self.kind == "copy"
        unmount_below(self.root)
        (self.root if copied else self._disk / "upper").rename(target)
        self.destroy()

    def attach(self) -> None:
        """Mount the disk unless it is mounted (after a reboot of the computer).

        Raises:
            LabError: the base tree below the disk is gone.
        """
        first, *rest = self._ready.read_text().splitlines()
        kind, _, base = first.partition(" ")
        kept = Path(rest[0]) if rest and rest[0] else None
        if kind == "copy" or self.root.is_mount():
            return
        if not Path(base).is_dir():
            raise LabError(f"The base tree {base} of this machine is gone. Use `lab wipe` or `lab down`.")
        if not self._mount(Path(base), kept):
            raise LabError(f"The disk in {self._disk} can no longer be mounted. Use `lab wipe` or `lab down`.")

    def destroy(self) -> None:
        """Unmount and remove the disk with everything on it."""
        unmount_below(self.root)
        for path in (self.root, self._disk):
            if path.exists():
                # Renamed first: an overlay that a process still holds must not share its directories with the next
                # one.
                old = path.with_name(f"old-{uuid.uuid4().hex[:8]}")
                path.rename(old)
        for old in self.root.parent.glob("old-*"):
            shutil.rmtree(old)

    def _mount(self, base: Path, kept: Path | None) -> bool:
        upper, work = self._disk / "upper", self._disk / "work"
        lower = [kept, base] if kept else [base]
        if any(mark in f"{path}" for path in (*lower, upper) for mark in ",:\\"):
            return False  # these characters have a meaning in overlay mount options
        upper.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        shutil.copystat(base, upper)
        # redirect_dir: kept directories can be renamed, as on a real disk.
        options = f"redirect_dir=on,lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"
        return not host.call("mount", "-t", "overlay", "-o", options, "overlay", str(self.root), check=False).returncode


def unmount_below(directory: Path) -> None:
    """Unmount everything at or below `directory`, also mounts that the lab has no record of."""
    for path in mounts_below(directory):
        if host.call("umount", str(path), check=False).returncode:
            host.call("umount", "--lazy", str(path), check=False)


def mounts_below(directory: Path) -> list[Path]:
    """Mount points at or below `directory`, innermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        path = Path(line.split()[4].encode().decode("unicode_escape"))  # blanks in paths are \040
        if path == directory or directory in path.parents:
            found.append(path)
    return found[::-1]


def loops_below(directory: Path) -> list[str]:
    """Loop devices (/dev/loopN) whose backing file is in `directory`."""
    found = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            backing = file.read_text().strip().removesuffix(" (deleted)")
            if directory in Path(backing).parents:
                found.append(f"/dev/{file.parent.parent.name}")
    return found


def forget_root(root: Path) -> None:
    """Remove the lock that a killed systemd-nspawn leaves for its tree; call it before `root` is unmounted."""
    with contextlib.suppress(FileNotFoundError):
        stat = os.stat(root)  # noqa: PTH116 - one call for both numbers
        (_NSPAWN / "locks" / f"inode-{stat.st_dev}:{stat.st_ino}").unlink(missing_ok=True)


def forget_job(pattern: str) -> None:
    """Remove what a killed systemd-nspawn leaves under /run for the machines that match `pattern` (a glob)."""
    for kind in ("propagate", "unix-export"):
        for directory in (_NSPAWN / kind).glob(pattern):
            unmount_below(directory)
            shutil.rmtree(directory, ignore_errors=True)
    for lock in (_NSPAWN / "locks").glob(f"name-{pattern}"):
        lock.unlink(missing_ok=True)
