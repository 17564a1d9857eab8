"""A disk of its own for the data directory: mounted now and at every boot, formatted only when nothing is on it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say, until
from ..shared.spec import Spec
from . import identity
from .identity import Identity

_APPEAR_SECONDS = 60.0
_MOUNTABLE = ("ext4", "xfs")
# What the first and last bytes of a disk must be for it to be empty, although no file system was recognised.
_LOOKED_AT = 4 << 20


def attach(spec: Spec, known: Identity | None) -> Identity | None:
    """Mounts the disk at the data directory; returns the identity that is stored on it, else `known`.

    Raises:
        NodeError: the disk does not appear, or holds something other than this member's data; nothing on it was
            changed.
    """
    phase("mount the data disk")
    device = _wait_for(Path(spec.data_device))
    place = Path(spec.data_directory)
    if os.path.ismount(place):
        if place.stat().st_dev != device.stat().st_rdev:
            raise NodeError(
                f"something other than {spec.data_device} is mounted at {place}",
                "Unmount it, or choose another data directory, then run again.",
            )
    else:
        _refuse_hidden(place)
        kind = _kind_of(device, spec.data_device)
        if kind == "":
            _format(spec, device)
            kind = "ext4"
        _inspect(spec, device)
        _mount(spec, place, kind)
    brought = identity.brought(place)
    if known is not None and not known.bare:
        return replace(known, data_device=spec.data_device)
    if brought is not None:
        say("the disk already holds this member's data")
        return replace(brought, data_mount=str(place), data_device=spec.data_device)
    return known


def own(place: Path, uid: int, gid: int) -> None:
    """Changes the owner of the content to etcd's user, whose numeric ID can differ between machines."""
    data = place / "member"
    if not data.exists() or data.stat().st_uid == uid:
        return
    # `data` last: its owner says that all the rest is done, so an interrupted run does not count.
    for root, directories, names in os.walk(place, topdown=False):
        for name in [*directories, *(name for name in names if name != identity.MARK)]:
            if Path(root, name) != data:
                os.chown(os.path.join(root, name), uid, gid, follow_symlinks=False)  # noqa: PTH118
    os.chown(data, uid, gid, follow_symlinks=False)


def detach(data_directory: str) -> None:
    """Unmounts what `attach` mounted and forgets it; the data stay on the disk."""
    unit = Path("/etc/systemd/system") / unit_name(data_directory)
    if not unit.exists():
        return
    run(["systemctl", "disable", "--now", unit.name], 60, check=False)
    files.remove(unit)
    run(["systemctl", "daemon-reload"], 60)


def unit_name(path: str) -> str:
    """The name that systemd gives to the mount at an absolute path."""
    return f"{'-'.join(_escaped(part) for part in path.strip('/').split('/'))}.mount"


def _escaped(part: str) -> str:
    plain = "".join(char if char.isalnum() or char in "_." else f"\\x{ord(char):02x}" for char in part)
    return f"\\x2e{plain[1:]}" if plain.startswith(".") else plain


def _wait_for(path: Path) -> Path:
    """The device itself; a cloud's disk may appear later than its machine."""
    for left in until(_APPEAR_SECONDS, every=0.5):
        if path.exists():
            break
        if left == _APPEAR_SECONDS:
            say(f"waits for {path}")
    else:
        raise NodeError(
            f"{path} did not appear on this machine within {_APPEAR_SECONDS:.0f} s",
            "Attach the volume to this machine, then run again.",
        )
    device = path.resolve()
    if not stat.S_ISBLK(device.stat().st_mode):
        raise NodeError(f"{path} is not a disk", "Give the path of a block device.")
    return device


def _refuse_hidden(place: Path) -> None:
    """A mount would hide what is in the directory."""
    if place.is_dir() and (found := sorted(path.name for path in place.iterdir())):
        raise NodeError(
            f"{place} holds {', '.join(found[:3])}, which the data disk would hide",
            "Move it away, then run again. If it is this member's data, it is not on the disk yet: stop etcd, copy it "
            "there, and keep owner and modes.",
        )


def _kind_of(device: Path, given: str) -> str:
    """The file system on the device; empty when there is nothing at all.

    Raises:
        NodeError: there is something else, and it stays.
    """
    said = run(["blkid", "-p", "-o", "export", str(device)], 30, check=False)
    values = dict(line.partition("=")[::2] for line in said.stdout.splitlines())
    kind = values.get("TYPE", "")
    if said.returncode == 0 and kind in _MOUNTABLE:
        return kind
    if said.returncode not in (0, 2) or values.get("PTTYPE") or kind:
        what = kind or values.get("PTTYPE") or f"an ambiguous signature (blkid: {said.returncode})"
        raise NodeError(
            f"{given} holds {what}, which is not a file system for etcd's data; it is untouched",
            "If nothing on it is needed, empty it (`wipefs -a`). Otherwise use another disk.",
        )
    if not _blank(device):
        raise NodeError(
            f"{given} holds no file system, but it is not empty either; it is untouched",
            "If nothing on it is needed, empty it (`blkdiscard`, or zeros over its beginning and end). Otherwise use "
            "another disk.",
        )
    return ""


def _blank(device: Path) -> bool:
    """Whether beginning and end of the device are zeros."""
    with device.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for start in (0, max(0, size - _LOOKED_AT)):
            file.seek(start)
            if any(file.read(_LOOKED_AT)):
                return False
    return True


def _format(spec: Spec, device: Path) -> None:
    phase("format the empty data disk")
    run(["mkfs.ext4", "-q", "-m", "1", "-L", f"etcd-{spec.member}"[:16], str(device)], 120)
    say(f"{spec.data_device} was empty: formatted")


def _inspect(spec: Spec, device: Path) -> None:
    """Refuses a disk with other data. It is mounted privately for this check.

    Raises:
        NodeError: it holds them.
    """
    with _looked_at(device) as root:
        found = sorted(path.name for path in root.iterdir() if path.name not in identity.NO_DATA)
        mark = identity.read(root / identity.MARK)
    if mark is None:
        if found:
            raise NodeError(
                f"{spec.data_device} holds {', '.join(found[:3])}, and nothing on it marks it as data of "
                f"{spec.member} of {spec.cluster}; it is untouched",
                "If it is not needed, remove it. Otherwise use another disk.",
            )
        return
    for key, wanted in (("cluster", spec.cluster), ("member", spec.member)):
        here = getattr(mark, key)
        if here != wanted and not (mark.bare and not found):
            raise NodeError(
                f"{spec.data_device} holds data of member {mark.member} of the cluster {mark.cluster} ({key} "
                f"{here!r}, expected {wanted!r}); they are untouched",
                f"Give {spec.member} its own disk; or, if these data are not needed, empty this one.",
            )


@contextmanager
def _looked_at(device: Path) -> Iterator[Path]:
    root = paths.RUN / "disk"
    files.directory(root, 0o700)
    run(["mount", "-o", "ro,nosuid,nodev,noexec", str(device), str(root)], 60)
    try:
        yield root
    finally:
        run(["umount", str(root)], 60)
        files.remove_empty([root])


def _mount(spec: Spec, place: Path, kind: str) -> None:
    unit = Path("/etc/systemd/system") / unit_name(str(place))
    text = f"""\
# Written by etcd-node (external-etcd); changes here are overwritten.
[Unit]
Description=Data of etcd
Before={paths.UNIT}

[Mount]
What={spec.data_device}
Where={place}
Type={kind}
Options=noatime,nosuid,nodev,noexec

[Install]
WantedBy=multi-user.target
"""
    files.write(unit, text)
    run(["systemctl", "daemon-reload"], 60)
    run(["systemctl", "enable", "--now", unit.name], 60)
    if not os.path.ismount(place):
        raise NodeError(f"{unit.name} did not mount {place}", f"See `systemctl status '{unit.name}'`, then run again.")
    say(f"{spec.data_device} mounted at {place}")
