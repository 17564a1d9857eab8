"""The snapshot in the store from which the cluster is restored: which one, and its way to this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..data import snapshot
from ..protocol import snapshot_file, versions
from ..shared import files, paths
from ..shared.backup import NEWEST, Backup
from ..shared.errors import NodeError
from ..shared.say import more_time, phase, say
from ..shared.spec import Restore, Spec
from . import retention, store
from .retrieve import Retrieved, retrieve

_SLOWEST = 10 << 20


def configure(backup: Backup, credentials: Mapping[str, str]) -> None:
    """Gives this machine the way to the store, which it does not have before its first `converge`."""
    files.write(paths.BACKUP_STORE, store.configuration(backup, credentials), 0o600)


def find(spec: Spec, restore: Restore, backup: Backup) -> str:
    """Name of the snapshot in the store: the given one, or the newest of this cluster by the time in its name.

    Raises:
        NodeError: there is none, times and revisions name different ones, or the store cannot be asked.
    """
    phase(f"look for the snapshot in {backup}")
    names = store.listed(backup)
    own = {name: found for name in names if (found := retention.parse(name)) and found.cluster == spec.cluster}
    if restore.source != NEWEST and restore.source in names:
        return restore.source
    if restore.source != NEWEST or not own:
        wanted = f"snapshot of {spec.cluster}" if restore.source == NEWEST else restore.source
        raise NodeError(
            f"there is no {wanted} in {backup}: it has {len(names)} files, and {len(own)} snapshots of {spec.cluster}; "
            "nothing was changed",
            "Correct `restore.from`, or the place in `backup`: bucket and prefix, or the directory, which must be "
            "mounted here.",
        )
    newest = max(own, key=lambda name: (own[name].taken, own[name].revision))
    highest = max(own, key=lambda name: own[name].revision)
    if own[highest].revision > own[newest].revision:
        raise NodeError(
            f"it is not certain which snapshot in {backup} is the newest: {newest} has the latest time, and {highest} "
            "a higher revision; nothing was changed",
            "A clock was wrong, or another cluster of this name has stored there, such as an empty one that was "
            "created after the loss. Set `restore.from` to the name of the one that you want.",
        )
    say(f"the newest of {len(own)} snapshots is {newest}")
    return newest


def folder(spec: Spec) -> Path:
    """Where the decrypted snapshot is for a short time; only root can read it."""
    return snapshot.directory(spec.data_directory) / "restore"


def bring(spec: Spec, restore: Restore, backup: Backup, identity: str) -> Retrieved:
    """Retrieves the snapshot into `folder`, as `snapshot.db`, and refuses one that must not be restored.

    Args:
        identity: the private key.

    Raises:
        NodeError: it cannot be retrieved, is of another cluster, or of a version that this etcd does not read; nothing
            was changed.
    """
    place = folder(spec)
    files.directory(place.parent, 0o700)
    files.directory(place, 0o700)
    os.nice(19)
    path = place / "snapshot.db"
    found = retrieve(backup, restore.source, identity, path)
    phase("read the snapshot")
    more_time(60 + found.size / _SLOWEST)
    try:
        says = snapshot_file.read(path)
    except snapshot_file.DamagedError as error:
        raise NodeError(f"{restore.source} is damaged: {error}; nothing was changed", "Use another snapshot.") from None
    refuse(spec, restore, says)
    say(f"{restore.source} has the revision {says.revision}, of etcd {says.series or '(not recorded)'}")
    return found


def refuse(spec: Spec, restore: Restore, says: snapshot_file.SnapshotFile) -> None:
    """Refuses a snapshot of another cluster, of another name, or of a version that this etcd does not read.

    Raises:
        NodeError: it is one.
    """
    name = restore.source
    if not says.cluster and "unknown-cluster" not in restore.accept:
        raise NodeError(
            f"{name} does not say of which cluster it is; nothing was changed",
            f"If you know that it is of {spec.cluster}, set `accept: [unknown-cluster]` in `restore`.",
        )
    if says.cluster and says.cluster != spec.cluster:
        raise NodeError(
            f"{name} is a snapshot of the cluster {says.cluster[:63]!r}, not of {spec.cluster}; nothing was changed",
            f"Set `restore.from` to a snapshot of {spec.cluster}.",
        )
    named = retention.parse(name)
    if named is not None and named.revision != says.revision:
        raise NodeError(
            f"{name} has the revision {says.revision}, so it is not the snapshot of this name; nothing was changed",
            "Somebody who can write to the store has replaced it. Use another snapshot, and look at its content first.",
        )
    if not says.series:
        return
    (major, ours), (their_major, theirs) = versions.minor(spec.release.version), versions.minor(f"{says.series}.0")
    if major != their_major or ours - theirs not in (0, 1):
        raise NodeError(
            f"{name} is of etcd {says.series}, and etcd {spec.release.version} is made for data of its own minor "
            "version and the one before; nothing was changed",
            f"Set the version to a release of {says.series}, in the same update.",
        )
