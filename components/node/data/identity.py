"""The machine's record (identity.json): its member, its cluster, and what to undo in `retire`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..protocol import wal
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.spec import Operator, Spec

MARK = ".etcd-node.json"
"""In the data directory: a copy of the identity to which the data belong."""
RESTORED = ".etcd-restored"
"""Where data that were restored from a snapshot wait for their place."""
NO_DATA = ("lost+found", MARK, RESTORED, ".etcd-rehearsal", ".etcd-rehearsal.new")
"""What may lie at the top of a data directory without being a member's data; the last two are of `rehearsal`."""


@dataclass(frozen=True)
class Identity:
    """The content of identity.json."""

    cluster: str
    member: str
    data_directory: str
    ca: tuple[str, ...] = ()
    """SHA-256 fingerprints of the CA certificates that the cluster here trusts; empty until there is one."""
    cluster_id: str = ""
    """Hex, empty until known."""
    member_id: str = ""
    """Hex, empty until known."""
    operator: str = ""
    """ID of the operator whose run was the last to bootstrap or converge the member; empty if it was unknown."""
    machine: str | None = None
    """What the configuration named the machine (`identity`) when the member last reached its desired state; None: not
    known.
    """
    user_created: bool = False
    """The user etcd did not exist before."""
    group_before: bool = False
    """The group etcd existed before, without that user."""
    directories_created: tuple[str, ...] = ()
    """Directories that did not exist before, in the order of their making."""
    data_directory_before: tuple[int, int, int] | None = None
    """(mode, uid, gid) of the data directory if it existed before."""
    data_mount: str = ""
    """The mount point below which the data directory is; data are never looked for on another file system."""
    data_device: str = ""
    """The disk that was given for the data directory alone; a copy of this identity is on it."""
    format: int = field(default=1)

    @property
    def bare(self) -> bool:
        """The machine was prepared, but no member has begun here."""
        return not self.ca


def load() -> Identity | None:
    """The identity of this machine, None on one that holds no member.

    Raises:
        NodeError: the file is damaged, or of a newer etcd-node.
    """
    return read(paths.IDENTITY)


def read(path: Path) -> Identity | None:
    """The identity in a file, None when there is no such file. Raises NodeError like `load`."""
    raw = files.read_json(path)
    if raw is None:
        return None
    known = {each.name for each in fields(Identity)}
    try:
        if raw["format"] != 1 or set(raw) - known:
            raise ValueError
        lists: dict[str, Any] = {key: tuple(value) for key, value in raw.items() if isinstance(value, list)}
        return Identity(**{**raw, **lists})
    except (KeyError, TypeError, ValueError):
        raise NodeError(
            f"this etcd-node cannot read {path}",
            "It was written by another version or damaged; use the external-etcd that wrote it, or repair the file.",
        ) from None


def save(identity: Identity) -> None:
    """Writes it, if it differs from what is there."""
    files.directory(paths.STATE, 0o700)
    text = json.dumps(asdict(identity), indent=2) + "\n"
    files.write(paths.IDENTITY, text, 0o600)
    data = Path(identity.data_directory)
    # It tells the next machine with this disk, or the next system on this machine, whose data these are.
    if identity.data_device and os.path.ismount(data):
        files.write(data / MARK, text, 0o600)
    elif wal.exists(identity.data_directory):
        with contextlib.suppress(OSError):  # a full disk is reported elsewhere
            files.write(data / MARK, text, 0o600)


def brought(place: Path) -> Identity | None:
    """The identity stored with the data, as far as it applies to this machine; None if there is none.

    Raises:
        NodeError: it is damaged, or of a newer etcd-node.
    """
    mark = read(place / MARK)
    if mark is None or mark.bare:
        return None
    # The user and directories of the previous machine or system do not apply to this one.
    return replace(
        mark,
        data_directory=str(place),
        user_created=False,
        group_before=False,
        directories_created=(),
        data_directory_before=None,
        data_mount="",
        data_device="",
    )


def record(identity: Identity) -> None:
    """Saves it with the IDs that the log in the data directory has."""
    owner = wal.owner(identity.data_directory)
    if owner is not None:
        identity = replace(identity, cluster_id=f"{owner.cluster_id:x}", member_id=f"{owner.member_id:x}")
    save(identity)


def refuse_another(identity: Identity | None, spec: Spec) -> None:
    """Refuses a machine that holds another member than the specification's.

    A machine that was only prepared holds none: a name can be corrected after a first run that failed.

    Raises:
        NodeError: it does; nothing has been touched.
    """
    if identity is None or identity.bare:
        return
    given = {"cluster": spec.cluster, "member": spec.member, "data_directory": spec.data_directory}
    for key, wanted in given.items():
        here = getattr(identity, key)
        if here != wanted:
            raise NodeError(
                f"this machine holds member {identity.member} of cluster {identity.cluster} "
                f"({key.replace('_', ' ')} {here!r}), "
                f"but is configured for {key.replace('_', ' ')} {wanted!r}; its data are untouched",
                "Use another machine, or first remove this one from its cluster: `pulumi destroy` there, or on "
                "the machine "
                f"`etcd-node retire {identity.cluster}` (it moves the data aside).",
            )


def refuse_other_authority(identity: Identity | None, given: Sequence[str]) -> None:
    """Refuses a list of CAs if the cluster on this machine trusts none of them.

    A second stack, or one that has lost its state, has a new CA. Writing it would disconnect this member from the
    others at once. During a replacement, both CAs are listed.

    Raises:
        NodeError: there is none in common; nothing has been touched.
    """
    if identity is None or not identity.ca or set(identity.ca) & set(given):
        return
    raise NodeError(
        f"the cluster {identity.cluster} on this machine trusts the CA {_short(identity.ca)}, this stack has "
        f"{_short(given)}; nothing was changed",
        "To replace the CA, list the new one in `authorities` next to the old one first (docs/operations.md). If you "
        "did not mean to replace it, run from the stack that created the cluster, or configure its CA in this stack. "
        "A stack that has lost its state and its CA cannot manage this cluster; `etcd-node retire` frees the machine "
        "and moves the data aside.",
    )


def of_member(identity: Identity, given: Sequence[str], operator: Operator | None) -> Identity:
    """The identity with these CAs and this operator.

    Args:
        given: fingerprints of the CA certificates.
        operator: whose run it is; None: unknown.
    """
    return replace(identity, ca=tuple(given), operator="" if operator is None else operator.id)


def _short(fingerprints: Sequence[str]) -> str:
    return " + ".join(f"SHA-256 {each[:16]}..." for each in fingerprints) or "none"
