"""A snapshot of the cluster before its version changes, kept next to the data, never among them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ..protocol import etcd
from ..service import release
from ..shared import files
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import more_time, phase, say
from ..shared.spec import Spec

KEPT = 3
"""So many are kept; older ones go when a new one has been verified."""
_FRESH_SECONDS = 900
_SPARE = 256 << 20
_SLOWEST = 10 << 20
_LEAST_SECONDS = 30.0
_DIGEST = 32
_PAGE = 512
_NAME = re.compile(r"(?P<cluster>[a-z0-9-]+)-(?P<before>[\d.]+)-to-(?P<after>[\d.]+)-\d{8}T\d{6}Z\.db")


def directory(data_directory: str) -> Path:
    """Where they are: next to the data, like data moved aside; on another file system if the data have their own."""
    return Path(f"{data_directory}.snapshots")


def save(spec: Spec, running: str, address: str, status: etcd.Status, path: Path) -> Content:
    """Takes a snapshot from a member into a file that only root can read, and verifies it.

    Args:
        running: the version of etcd that runs there.
        status: what the member said of itself before.

    Raises:
        NodeError: the member gives none, or it is damaged.
    """
    seconds = _LEAST_SECONDS + status.db_size / _SLOWEST
    more_time(3 * seconds)
    now = replace(spec, release=replace(spec.release, version=running))
    etcd.etcdctl(now, [address], ["snapshot", "save", str(path)], seconds)
    path.chmod(0o600)
    return verify(path, running, status.revision, seconds)


def keep(spec: Spec, running: str, address: str, status: etcd.Status, before: str = "the version changes") -> None:
    """Takes a snapshot from a member and verifies it, unless one was taken for this change just now.

    Args:
        spec: the desired state, with the new version.
        running: the version that runs, or ran, on this machine.
        address: of the member, which reads through the quorum; this machine's own if it does.

    Raises:
        NodeError: there is no room, or the snapshot is damaged.
    """
    place = directory(spec.data_directory)
    prefix = f"{spec.cluster}-{running}-to-{spec.release.version}-"
    for path in _kept(place, spec.cluster)[:1]:
        # A run that was interrupted after the snapshot, before the first member changed.
        if path.name.startswith(prefix) and 0 <= time.time() - path.stat().st_mtime < _FRESH_SECONDS:
            say(f"the snapshot {path} was taken for this change")
            return
    phase(f"take a snapshot before {before}")
    files.directory(place, 0o700)
    for left_over in place.glob(".*"):
        left_over.unlink()
    free = shutil.disk_usage(place).free
    needed = status.db_size + _SPARE
    if free < needed:
        raise NodeError(
            f"the file system of {place} has {free >> 20} MiB free; a snapshot before {before} needs "
            f"{needed >> 20} MiB; nothing was changed",
            f"Make room there (older snapshots in {place} can be deleted), then run again.",
        )
    fresh = place / ".new.db"
    said = save(spec, running, address, status, fresh)
    path = place / f"{prefix}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.db"
    fresh.rename(path)
    files.sync_directory(place)
    say(f"snapshot kept and verified: {path} ({said})")
    for old in _kept(place, spec.cluster)[KEPT:]:
        old.unlink()
        say(f"removed the old snapshot {old.name}")


@dataclass(frozen=True)
class Content:
    """What `etcdutl snapshot status` says of a snapshot."""

    revision: int
    keys: int
    checksum: int

    def __str__(self) -> str:
        return f"revision {self.revision}, {self.keys} keys, hash {self.checksum:08x}"


def verify(path: Path, version: str, revision: int, seconds: float) -> Content:
    """Verifies that a snapshot is complete and current.

    `etcdutl snapshot restore` checks the digest at its end; `etcdutl snapshot status` reads every page.

    Args:
        version: whose etcdutl is asked.
        revision: what the member had applied before.
        seconds: limit for reading all of it.

    Raises:
        NodeError: it is not; the file is kept for inspection.
    """
    _check_digest(path)
    content = content_of(path, version, seconds)
    if content.revision < revision:
        raise _broken(path, f"it ends at revision {content.revision}, and the member had {revision}")
    _check_digest(path)  # etcdutl has not written to it
    return content


def content_of(path: Path, version: str, seconds: float) -> Content:
    """Lets etcdutl read every page.

    Args:
        version: whose etcdutl is asked.
        seconds: limit for reading all of it.

    Raises:
        NodeError: it is damaged.
    """
    said = run(
        [str(release.directory(version) / "etcdutl"), "snapshot", "status", str(path), "--write-out=json"], seconds
    ).stdout
    try:
        found = json.loads(said)
        return Content(int(found["revision"]), int(found["totalKey"]), int(found["hash"]))
    except (ValueError, KeyError, TypeError):
        raise _broken(path, f"etcdutl snapshot status says {said.strip()[:200]!r}") from None


def _check_digest(path: Path) -> None:
    size = path.stat().st_size
    if size % _PAGE != _DIGEST:
        raise _broken(path, f"{size} bytes are not a snapshot with a checksum")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = size - _DIGEST
        while left:
            chunk = file.read(min(1 << 20, left))
            if not chunk:
                break
            digest.update(chunk)
            left -= len(chunk)
        if file.read() != digest.digest():
            raise _broken(path, "its SHA-256 does not match")


def _broken(path: Path, why: str) -> NodeError:
    return NodeError(
        f"the snapshot {path} is damaged: {why}; nothing was changed",
        "Check the disk (`dmesg`, `etcd-node status`), then run again.",
    )


def _kept(place: Path, cluster: str) -> list[Path]:
    """The cluster's snapshots, the newest first."""
    found = [path for path in place.glob("*.db") if (name := _NAME.fullmatch(path.name)) and name["cluster"] == cluster]
    return sorted(found, key=lambda path: path.name.rsplit("-", 1)[-1], reverse=True)


def put_aside(data_directory: str, label: str) -> Path | None:
    """Renames the directory of snapshots, when its member is retired; nothing is deleted.

    Returns:
        Where they are now, None when there are none.
    """
    place = directory(data_directory)
    if not place.is_dir():
        return None
    if not any(place.rglob("*.db*")):
        files.remove_tree(place)
        return None
    target = place.with_name(f"{place.name}.{label}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    place.rename(target)
    return target
