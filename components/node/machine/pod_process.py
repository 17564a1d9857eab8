"""etcd's process in its pod, found without the container runtime: the machine sees it like any other."""

from __future__ import annotations

from pathlib import Path

from ..shared import paths

# Without the prefix ETCD_: etcd would read them as settings.
RELEASE, IMAGE = "MEMBER_RELEASE", "MEMBER_IMAGE"
"""Variables of the process: the release in its image, and the image as the configuration names it."""


def find() -> int:
    """Its process ID; 0 when it does not run."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and is_etcd(int(process.name)):
            return int(process.name)
    return 0


def is_etcd(pid: int) -> bool:
    """Whether this process is etcd in the pod of this program."""
    place = Path(f"/proc/{pid}")
    try:
        if not (place / "cmdline").read_bytes().startswith(f"{paths.IMAGE_ETCD}\0".encode()):
            return False
        return f"\0{IMAGE}=".encode() in b"\0" + (place / "environ").read_bytes()
    except OSError:
        return False
