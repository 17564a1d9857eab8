"""drain: checks that the machine of another member can be replaced, and moves leadership away from that member."""

from __future__ import annotations

import json
from functools import partial

from ..cluster import disruption, leadership, quorum_gate, quorum_rules, roster
from ..protocol import etcd
from ..shared import files, paths, spec
from ..shared.errors import NodeError
from ..shared.say import phase, say


def drain(name: str) -> None:
    """Releases the machine of a member, or refuses; changes only the leader, and records the release.

    Args:
        name: the member's name. It must not be this one.

    Raises:
        NodeError: the cluster does not tolerate its loss now, or this machine cannot tell.
    """
    installed = files.read_json(paths.INSTALLED)
    if installed is None or installed.get("member") == name:
        why = "it holds no member itself" if installed is None else "it is that machine"
        raise NodeError(
            f"this machine cannot tell whether the cluster tolerates the loss of {name}: {why}; the machine of {name} "
            "stays as it is",
            "Restore its generation and run `pulumi up`. Raise it again when the cluster is healthy.",
        )
    here = spec.parse(json.dumps(installed))
    phase(f"ask whether the cluster tolerates the loss of {name}")
    try:
        answer = etcd.ready(here, here.address)
        trouble = answer.trouble
    except (etcd.SilentError, etcd.AlienError) as error:
        trouble = str(error)
    if trouble:
        raise _stays(name, f"{here.member}, which was asked, has no quorum itself ({trouble})")
    cluster = etcd.member_list(here, [here.address])
    if not any(entry.name == name for entry in cluster.voters):
        say(f"{name} is not a voter of the cluster: its machine can be replaced")
        return
    here = roster.everyone(here, [here.address], cluster)
    refuse = partial(quorum_rules.refuse_drain, name)
    new = disruption.take(here, [here.address], name)
    try:
        voters, statuses = quorum_gate.wait(here, cluster, refuse)
        leaving = statuses.get(name)
        if leaving is not None and leaving.leader == leaving.member_id:
            untouched = f"the machine of {name} stays as it is"
            leadership.hand_over(here, name, cluster, (voters, statuses), refuse, untouched=untouched)
    except NodeError:
        if new:
            disruption.give_back(here, [here.address], name)
        raise
    say(f"the cluster tolerates the loss of {name}: its machine can be replaced")


def _stays(name: str, cause: str) -> NodeError:
    return NodeError(
        f"{cause}; the machine of {name} stays as it is",
        "Look at the members named (`etcd-node status` and `journalctl -u etcd` there), then run again.",
    )
