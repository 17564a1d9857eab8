"""Checks of the data directory: it survives a reboot, has room, and holds this member's data or none.

Data are moved aside, never deleted.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from ..protocol import wal
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.say import size
from ..shared.spec import Spec
from . import identity
from .identity import Identity

_LEAST_FREE = 512 << 20
_IN_MEMORY = ("tmpfs", "ramfs")


def check_disk(spec: Spec) -> None:
    """The data directory must have room. A member that already has data is never refused for the space that it uses."""
    if wal.exists(spec.data_directory):
        return
    total = check_room(spec)
    # Log and snapshots come on top of the database, but few use even half of a quota. So only the impossible is
    # refused.
    if total < spec.quota_bytes:
        raise NodeError(
            f"the quota is {size(spec.quota_bytes)}, and the file system of {spec.data_directory} has only "
            f"{size(total)}",
            "Lower the quota or use a larger disk.",
        )


def check_room(spec: Spec, database: int = 0) -> int:
    """The file system of the data directory must have room for a new member.

    Args:
        database: bytes that it will receive from the others.

    Returns:
        Total size of that file system, in bytes.

    Raises:
        NodeError: there is less.
    """
    place = Path(spec.data_directory)
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    if usage.free < database + _LEAST_FREE:
        raise NodeError(
            f"{spec.data_directory} has {size(usage.free)} free; a new member needs at least "
            f"{size(database + _LEAST_FREE)}{f', with a database of {size(database)}' if database else ''}; nothing "
            "was changed",
            "Make room on that file system (data that were moved aside stay until you delete them), or put the data "
            "directory on another.",
        )
    return usage.total


def check_place(spec: Spec) -> None:
    """The data directory must survive a reboot and a `retire`. The target of a link counts.

    Raises:
        NodeError: it does not, or its target is missing.
    """
    place = Path(spec.data_directory)
    _refuse_dangling(place)
    # Members that already have data are not refused.
    if wal.exists(spec.data_directory):
        return
    real = Path(os.path.realpath(place))
    for own in (paths.RELEASES, paths.PKI.parent, paths.STATE, paths.PROGRAM, paths.RUN):
        if own in (real, *real.parents) or real in own.parents:
            raise NodeError(
                f"{place} leads to {real}, which overlaps with {own}: `pulumi destroy` removes what this program "
                f"created there",
                "It must lead to a directory that holds only etcd's data.",
            )
    kind = file_system_of(mount_of(place))
    if kind in _IN_MEMORY:
        raise NodeError(
            f"{place} is on a file system in memory ({kind} at {mount_of(place)}), which every reboot empties; a "
            "member that loses its data has to be replaced",
            "Put the data directory on a disk, then run again.",
        )


def _refuse_dangling(place: Path) -> None:
    for path in [*reversed(place.parents), place]:
        if path.is_symlink() and not path.exists():
            raise NodeError(
                f"{path} is a link to {os.path.realpath(path)}, which does not exist",
                "Mount the disk that holds it, or create that directory, then run again. If that disk is lost, mount a "
                "new one in its place.",
            )


def file_system_of(mount: str) -> str:
    """Type of the file system that is mounted at a mount point, such as `ext4`; empty if unknown."""
    kind = ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        # Blanks in paths are \040. The last mount hides the others.
        if before.split()[4].encode().decode("unicode_escape") == mount:
            kind = after.split()[0]
    return kind


def check_mount(spec: Spec, known: str, *, begun: bool) -> None:
    """The data directory must be on the same file system as before: a disk that is not mounted is not lost.

    Args:
        known: the mount point below which the data were; empty if unknown.
        begun: a member has had data here.

    Raises:
        NodeError: it is on another one, without this member's data (moved data are accepted).
    """
    place = Path(spec.data_directory)
    _refuse_dangling(place)
    now = mount_of(place)
    if not known or now == known:
        return
    if Path(now) in Path(known).parents:
        raise NodeError(
            f"the data of {spec.member} are on the file system at {known}, which is not mounted now",
            "Mount it, then run again. If that disk is lost, mount a new one there.",
        )
    if begun and not wal.exists(spec.data_directory):
        raise NodeError(
            f"the data of {spec.member} were on the file system at {known}; {place} is now on the file system at "
            f"{now}, which holds none of them",
            f"If they are still there, unmount {now} or move them, with owner and modes. If they are lost: "
            f"`etcd-node retire {spec.cluster}` on this machine, then run again with another `identity` for it.",
        )


def mount_of(path: Path) -> str:
    """The mount point below which the path is, or will be. The target of a link counts."""
    path = Path(os.path.realpath(path))
    while not os.path.ismount(path):
        path = path.parent
    return str(path)


def refuse_unknown_data(spec: Spec, known: Identity | None) -> None:
    """Refuses a data directory with data that no record on this machine identifies.

    Raises:
        NodeError: it does; the data are untouched.
    """
    place = Path(spec.data_directory)
    if (known is not None and not known.bare) or not place.exists():
        return
    if not place.is_dir():
        raise NodeError(f"{place} is not a directory", "Move it away or choose another data directory.")
    found = sorted(path.name for path in place.iterdir() if path.name not in identity.NO_DATA)
    if found:
        holds = "data of an etcd" if wal.exists(spec.data_directory) else "something else"
        raise NodeError(
            f"{place} holds {holds} ({', '.join(found[:3])}) that this machine does not know as a member of "
            f"{spec.cluster}; it is untouched",
            "If it is not needed, move it away and run again. Otherwise choose another data directory or another "
            "machine.",
        )


def move_aside(spec: Spec, why: str) -> Path | None:
    """Moves the content of the data directory aside, under a dated name on the same file system; deletes nothing.

    Returns:
        Where it is now, None when there was nothing.
    """
    return move_directory_aside(Path(spec.data_directory), f"{spec.cluster}-{why}")


def move_directory_aside(data: Path, label: str) -> Path | None:
    """See `move_aside`; `label` becomes part of the name."""
    if not data.is_dir() or not (data / "member").exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    # A link stays, and so does the disk behind it.
    real = Path(os.path.realpath(data))
    if mount_of(real) == str(real):
        # The directory is a file system of its own: a sibling would be on another one.
        target = real / f"{label}-{stamp}"
        target.mkdir(mode=0o700)
        (real / "member").rename(target / "member")
    else:
        before = real.stat()
        target = real.with_name(f"{real.name}.{label}-{stamp}")
        real.rename(target)
        if data.is_symlink():
            files.directory(real, 0o700, before.st_uid, before.st_gid)
    return target
