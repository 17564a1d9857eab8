"""The drill key: one more recipient of a snapshot, so that the machine that has stored it can prove that it restores.

`age-keygen` makes another one for each snapshot. Its machine has it until the restore is proved, and at most until the
next snapshot. It is in a file of root below /run, which is memory, and nowhere else: after a restart it is gone. Who
breaks into that machine can so read the newest snapshot, which has what etcd's data there have; older ones stay closed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..shared import files, paths
from ..shared.backup import Backup
from ..shared.errors import NodeError
from ..shared.run import run
from . import programs

_IDENTITY = re.compile(r"^AGE-SECRET-KEY-1[0-9A-Z]{58}$", re.MULTILINE)
_RECIPIENT = re.compile(r"^# public key: (age1[0-9a-z]{58})$", re.MULTILINE)


@dataclass(frozen=True)
class DrillKey:
    """A new pair of keys of age."""

    recipient: str
    identity: str


def create(backup: Backup) -> DrillKey:
    """Makes one, which is in this process alone.

    Raises:
        NodeError: age-keygen made none.
    """
    said = run([str(programs.path(backup, "age-keygen"))], 20).stdout
    identity, recipient = _IDENTITY.search(said), _RECIPIENT.search(said)
    if identity is None or recipient is None:
        raise NodeError("age-keygen printed no key (its output is not shown)", "See `journalctl -u etcd-snapshot`.")
    return DrillKey(recipient[1], identity[0])


def keep(key: DrillKey, stored: Mapping[str, Any]) -> None:
    """Keeps it in place of the last one.

    Args:
        stored: what is known of the snapshot, as `turn.remember` has it.
    """
    files.write(paths.DRILL_KEY, json.dumps({**stored, "identity": key.identity}) + "\n", 0o600)


def kept(last: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What is known of the snapshot that this machine can read, and its `identity`; None if it can read none.

    A key of a snapshot that is not the newest any more is removed.

    Args:
        last: the newest stored snapshot, as etcd has it.
    """
    found = files.read_json(paths.DRILL_KEY)
    # By revisions, because clocks differ. A full database does not accept that there is a newer one.
    if found is None or last is None or found["name"] == last["name"]:
        return found
    revision = last.get("revision")
    if isinstance(revision, int) and revision < found["revision"]:
        return found
    drop()
    return None


def drop(name: str = "") -> None:
    """Removes it.

    Args:
        name: only if it is the key of this snapshot.
    """
    if name and (files.read_json(paths.DRILL_KEY) or {}).get("name") != name:
        return
    files.remove(paths.DRILL_KEY)
    files.remove(files.unfinished(paths.DRILL_KEY))
