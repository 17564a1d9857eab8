"""Volumes as files on this computer, loop devices towards the guests."""

import contextlib
import fcntl
import os
import struct
import threading
from pathlib import Path

from .. import host
from ..errors import LabError

_GIB = 1024**3
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
_AFTER_SYNC = 0
_losetup = threading.Lock()


class Volume:
    """The volume in `file`."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def loop(self) -> Path | None:
        """Its device on this computer, if it has one. One that goes as soon as its last user does is none any more."""
        for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                pulled = entry.with_name("autoclear").read_text().strip() == "1"
                if entry.read_text().strip() == str(self.file) and not pulled:
                    return Path("/dev") / entry.parent.parent.name
        return None

    def attach(self) -> Path:
        """Give it a device on this computer."""
        with _losetup:
            return self.loop() or Path(host.call("losetup", "--find", "--show", str(self.file)).stdout.strip())

    def set_size(self, gib: int) -> None:
        """Make it, or make it larger, also while it is in use; it takes no room before something is written."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as file:
            file.truncate(gib * _GIB)
        if loop := self.loop():
            host.call("losetup", "--set-capacity", str(loop))

    def pull(self, init: int | None) -> None:
        """Take it from the guest whose first process is `init`, as one pulls a disk: what is mounted there fails."""
        loop = self.loop()
        if loop is None:
            return
        if init is not None:
            _shut_down(init, os.stat(loop).st_rdev)  # noqa: PTH116 - a device's number
        # It may go with its last user in this moment, who is another thread's.
        said = host.call("losetup", "--detach", str(loop), check=False)
        if self.loop() == loop:
            raise LabError(f"{loop} does not let go of {self.file}: {said.stderr.strip()}")

    def destroy(self) -> None:
        """Remove it with all that is on it."""
        self.pull(None)
        self.file.unlink(missing_ok=True)


def _shut_down(init: int, number: int) -> None:
    """Stop every file system on device `number` that the guest has mounted, and take it out of the guest's tree.

    Without the first, what still runs in the guest would write to a disk that another machine may have by now. The sync
    before is kinder than a pulled disk: without it, blocks that the kernel still has in memory would come later.
    """
    wanted = f"{os.major(number)}:{os.minor(number)}"
    with contextlib.suppress(FileNotFoundError):
        for line in Path(f"/proc/{init}/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[2] != wanted:
                continue
            place = fields[4].encode().decode("unicode_escape")
            with contextlib.suppress(OSError):
                directory = os.open(f"/proc/{init}/root{place}", os.O_RDONLY)
                try:
                    fcntl.ioctl(directory, _SHUTDOWN, struct.pack("I", _AFTER_SYNC))
                finally:
                    os.close(directory)
            host.call("nsenter", "-t", str(init), "-m", "umount", "--lazy", place, check=False)
