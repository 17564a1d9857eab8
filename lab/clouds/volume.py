"""Volumes: files on this computer, attached to guests as loop devices."""

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
        """Its loop device, if it has one. A device that is about to be detached (autoclear) does not count."""
        for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                pulled = entry.with_name("autoclear").read_text().strip() == "1"
                if entry.read_text().strip() == str(self.file) and not pulled:
                    return Path("/dev") / entry.parent.parent.name
        return None

    def attach(self) -> Path:
        """Attach it to a loop device."""
        with _losetup:
            return self.loop() or Path(host.call("losetup", "--find", "--show", str(self.file)).stdout.strip())

    def set_size(self, gib: int) -> None:
        """Create it, or enlarge it, also while it is in use; it is sparse."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as file:
            file.truncate(gib * _GIB)
        if loop := self.loop():
            host.call("losetup", "--set-capacity", str(loop))

    def pull(self, init: int | None) -> None:
        """Detach it from the guest with init `init` as if the disk were pulled: mounted file systems fail."""
        loop = self.loop()
        if loop is None:
            return
        if init is not None:
            _shut_down(init, os.stat(loop).st_rdev)  # noqa: PTH116 - a device's number
        # Its last user, in another thread, may release it at this moment.
        said = host.call("losetup", "--detach", str(loop), check=False)
        if self.loop() == loop:
            raise LabError(f"{loop} does not release {self.file}: {said.stderr.strip()}")

    def destroy(self) -> None:
        """Remove it with its data."""
        self.pull(None)
        self.file.unlink(missing_ok=True)


def _shut_down(init: int, number: int) -> None:
    """Shut down every mounted file system on device `number` in the guest, and unmount it there.

    Otherwise processes in the guest could write to a disk that another machine has by then. It syncs first, because
    the kernel would write cached blocks later.
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
