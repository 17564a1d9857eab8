"""retire: this machine holds no member any more, and is otherwise as it was before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..backup import settings as backup
from ..data import directory, disk, identity, snapshot
from ..data.identity import Identity
from ..machine import account, metadata, network, nftables
from ..service import image, kubelet, kubelet_host, maintenance, metrics_timer, release, systemd, unit
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say
from ..shared.spec import CERTIFICATES, KEYS

_ASIDE = "*-????????T??????Z"
"""Suffix of the names of data and snapshots that were moved aside."""


def retire(cluster: str, operator: str = "", member: str = "") -> None:
    """Stops and removes the member and all that was installed with it; its data are moved aside, never deleted.

    Every part is removed only if it is still there, and the record of what was made goes last: the next run completes
    an interrupted one. A member that another operator manages is left alone, and so is another member: a deletion that
    failed can come when the machine has long been given to it.

    Args:
        operator: ID of the operator whose stack is destroyed; empty: run by hand.
        member: name of the member that is retired; empty: whichever is here.

    Raises:
        NodeError: the machine holds a member of another cluster, or etcd does not stop.
    """
    known = identity.load()
    if known is not None and known.cluster != cluster and not known.bare:
        raise NodeError(
            f"this machine holds member {known.member} of the cluster {known.cluster}, not of {cluster}; nothing "
            "was touched",
            f"To remove it, run `etcd-node retire {known.cluster}`.",
        )
    if known is not None and known.cluster != cluster:
        say(f"prepared for {known.cluster} and not for {cluster}: left alone")
        return
    if known is not None and member not in ("", known.member):
        say(f"this machine is that of {known.member} by now, and not of {member}: left alone")
        return
    if known is not None and operator not in ("", known.operator or operator):
        # A stack that was refused by another stack's cluster does not own what it destroys.
        say(
            f"another stack manages the member {known.member} of {cluster} on this machine: left alone. To remove it, "
            f"run `pulumi destroy` there, or `etcd-node retire {cluster}` here."
        )
        return
    if known is not None:
        network.end()
        backup.remove(known.data_directory)
        _stop()
        phase("move the data aside")
        files.remove(Path(known.data_directory) / identity.MARK)
        _put_data_aside(known)
        if known.data_device:
            disk.detach(known.data_directory)
        _open_ports()
        phase("remove what was installed")
        _remove_installed(known)
        say("retired")
    else:
        # A first `prepare` may have failed after it had closed them.
        _open_ports()
    _remove_program()


def _open_ports() -> None:
    nftables.remove()
    metadata.remove()


def _stop() -> None:
    maintenance.remove()
    metrics_timer.remove()
    phase("stop etcd")
    if kubelet.runs_here():
        kubelet.stop()
        kubelet.uninstall()
        say("etcd stopped, and its static pod removed")
    ours = (files.read_bytes(paths.UNIT_FILE) or b"").startswith(unit.MARK.encode())
    if ours:
        systemd.stop()
        files.remove(paths.UNIT_WANTED)
        files.remove(paths.UNIT_FILE)
        run(["systemctl", "daemon-reload"], 60)
        say("etcd stopped and disabled")
    elif systemd.show().runs and systemd.foreign_unit() is None:
        # Interrupted between the removal of the unit and the reload.
        systemd.stop()
    files.remove(paths.BOOTSTRAP)


def _put_data_aside(known: Identity) -> None:
    data = Path(known.data_directory)
    moved = directory.move_directory_aside(data, f"{known.cluster}-retired")
    if moved is not None:
        # The user is removed, and its ID may be reused.
        os.chown(moved, 0, 0)
        moved.chmod(0o700)
        say(f"data moved aside to {moved}")
    kept = snapshot.put_aside(known.data_directory, f"{known.cluster}-retired")
    if kept is not None:
        say(f"snapshots moved aside to {kept}")
    lost = data.is_symlink() and not data.exists()
    if known.data_directory_before is not None and not lost:
        mode, uid, gid = known.data_directory_before
        files.directory(data, mode, uid, gid)
        # Etcd's user may have been given the directory without being its owner before.
        os.chown(data, uid, gid)


def _remove_installed(known: Identity) -> None:
    if kubelet_host.is_set_up():
        image.remove_others("")
        kubelet_host.remove()
    _remove_own(paths.PKI, (*CERTIFICATES, *KEYS))
    for name in release.PROGRAMS:
        if release.ours(paths.LINKS / name):
            files.remove(paths.LINKS / name)
    # Release by release: anything else there is not ours, or was just moved aside.
    for place in paths.RELEASES.glob("v*"):
        if (place / release.MANIFEST).exists():
            _remove_own(place, (*release.PROGRAMS, release.MANIFEST))
            files.remove_empty([place])
    for place in paths.RELEASES.glob(".v*.new"):
        _remove_tree(place)
    if known.user_created and account.find() is not None:
        account.delete(keep_group=known.group_before)
    files.remove_empty([Path(path) for path in known.directories_created])
    image.unmount()
    _remove_tree(paths.RUN)
    _remove_tree(paths.STATE)


def _remove_program() -> None:
    phase("remove etcd-node")
    files.remove(paths.WRAPPER)
    _remove_tree(paths.PROGRAM)
    files.remove(paths.LOCK)


def _remove_own(place: Path, names: Sequence[str]) -> None:
    """Removes these files, also where they were not written to the end; others may have put theirs beside them."""
    for name in names:
        files.remove(place / name)
        files.remove(place / f".{name}.new")


def _remove_tree(place: Path) -> None:
    """Removes a directory that this program created and its content, except what was moved aside there."""
    kept = set() if place.is_symlink() else set(place.rglob(_ASIDE))
    if not kept:
        files.remove_tree(place)
        return
    for child in place.iterdir():
        if child in kept:
            continue
        if child.is_dir() and not child.is_symlink():
            _remove_tree(child)
        else:
            child.unlink()
