"""The permission to begin: this machine may start once, without data, as an initial member of a new cluster.

Only `bootstrap` gives it, whose command Pulumi runs once in a slot's life. `converge`, which is repeated, uses it. So a
machine that takes another's place has none. It is spent as soon as a member has begun here, or the cluster is known to
exist. It also expires: a machine that never began may come back much later, to a cluster that has existed by then.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from ..protocol import wal
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.spec import Spec
from .identity import Identity

DAYS = 7
"""So long it is valid: longer than a first update is ever interrupted."""


def give(spec: Spec) -> None:
    """Records it, with the addresses of all initial members: they make the ID of the cluster."""
    members = {name: spec.members[name] for name in spec.initial_members}
    told = {
        "cluster": spec.cluster,
        "member": spec.member,
        "token": spec.token,
        "members": members,
        "at": int(time.time()),
    }
    files.write(paths.PERMISSION, json.dumps(told, indent=2) + "\n", 0o600)


def given(spec: Spec, known: Identity) -> tuple[str, Mapping[str, str]] | None:
    """The token and the initial members, name -> address; None without a permission, or if it is spent or old.

    Args:
        known: the record of this machine.
    """
    found = files.read_json(paths.PERMISSION)
    if found is None or (found["cluster"], found["member"]) != (spec.cluster, spec.member):
        return None
    # Whatever happened to the data of a member, a second start without them would create a second cluster.
    spent = known.cluster_id or wal.exists(spec.data_directory)
    old = time.time() - found["at"] > DAYS * 86400
    return None if spent or old else (str(found["token"]), found["members"])


def spend() -> None:
    """Removes it."""
    files.remove(paths.PERMISSION)


def refuse_without(gone: Sequence[str]) -> None:
    """Refuses a new cluster some of whose initial members are not in the configuration any more.

    Raises:
        NodeError: there are such.
    """
    if gone:
        raise NodeError(
            f"the cluster was to be bootstrapped with {', '.join(gone)}, which is no longer one of its members",
            "Restore it until the cluster exists, then remove it; or run `pulumi destroy` and start again.",
        )
