"""health: checks that the whole cluster has its desired state. Prints one JSON object on standard output."""

from __future__ import annotations

import json
import time

from ..backup import proof, turn
from ..cluster import marker, one_restart, quorum_rules, roster, users
from ..cluster.claim import Claim
from ..cluster.health import examine
from ..shared.errors import NodeError
from ..shared.say import more_time, phase, say, until
from ..shared.spec import Spec

_SECONDS = 30.0
_MOST_SECONDS = 1800.0


def health(spec: Spec, claim: Claim) -> str:
    """Asks every member until all are healthy; returns the report as JSON text. The change is over: its claim ends.

    All members are then present and run the same version, so etcd's authentication can be turned on or off.

    Raises:
        NodeError: something is still wrong after 30 s, or after a defragmentation; names every member and what is wrong
            with it.
    """
    phase("ask every member")
    end, waited_for = time.monotonic() + _SECONDS, ""
    for _ in until(_MOST_SECONDS, every=0.2):
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
        if time.monotonic() > end:
            # A member that is being defragmented answers nobody.
            name, seconds = one_restart.defragmentation(spec)
            if not name:
                break
            if name != waited_for:
                waited_for = name
                more_time(seconds + _SECONDS)
                say(f"waits up to {seconds:.0f} s until {name} has been defragmented")
            end = time.monotonic() + _SECONDS
    raise NodeError(
        f"the cluster {spec.cluster} is not healthy:\n" + "\n".join(f"  {line}" for line in wrong) + "\n",
        quorum_rules.remedy("".join(wrong), "See `etcd-node status` and `journalctl -u etcd` on the machines named.")
        + " Then run again.",
    )
