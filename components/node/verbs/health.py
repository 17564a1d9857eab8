"""health: checks that the whole cluster has its desired state. Prints one JSON object on standard output."""

from __future__ import annotations

import json

from ..backup import proof, turn
from ..cluster import marker, quorum_rules, roster, users
from ..cluster.claim import Claim
from ..cluster.health import examine
from ..shared.errors import NodeError
from ..shared.say import phase, until
from ..shared.spec import Spec

_SECONDS = 30.0


def health(spec: Spec, claim: Claim) -> str:
    """Asks every member until all are healthy; returns the report as JSON text. The change is over: its claim ends.

    All members are then present and run the same version, so etcd's authentication can be turned on or off.

    Raises:
        NodeError: something is still wrong after 30 s; names every member and what is wrong with it.
    """
    phase("ask every member")
    for _ in until(_SECONDS, every=0.2):
        report, wrong = examine(spec)
        if not wrong:
            addresses = list(spec.members.values())
            roster.settle(spec, addresses)
            marker.settle(spec, addresses)
            users.settle(spec, addresses)
            claim.release(addresses)
            if spec.backup is not None:
                report["backup"] = turn.last(spec, addresses)
                report["drill"] = proof.last(spec, addresses)
            return json.dumps(report)
        if any(": alarm " in line for line in wrong):
            break  # it never ends by itself
    raise NodeError(
        f"the cluster {spec.cluster} is not healthy:\n" + "\n".join(f"  {line}" for line in wrong) + "\n",
        quorum_rules.remedy("".join(wrong), "See `etcd-node status` and `journalctl -u etcd` on the machines named.")
        + " Then run again.",
    )
