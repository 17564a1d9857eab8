"""back: the external members leave the stacked cluster. stand_alone: whether they have left it."""

from __future__ import annotations

from collections.abc import Mapping

from ..cluster import roster
from ..cluster.claim import Claim
from ..control_plane import api_server, listed, manifest, places
from ..control_plane.plan import Plan
from ..protocol import etcd
from ..shared import files
from ..shared.errors import NodeError
from ..shared.say import phase, say, until
from ..steps.remove import remove_gone

_HEALTHY_SECONDS = 60.0


def back(plan: Plan) -> None:
    """Removes the external members one after another, the leader last, and proves that the stacked ones are healthy.

    Raises:
        NodeError: an API server still uses them, or a removal is not safe now; the rest stay.
    """
    servers = manifest.read(api_server.text())[manifest.SERVERS]
    if plan.uses_external(servers):
        raise NodeError(
            f"its API server uses {servers}; no member was removed",
            "Set `migration.phase` to join and run `pulumi up`, then continue.",
        )
    here = plan.stacked
    phase("ask the stacked members")
    answering, silence = etcd.with_quorum(here, here.members)
    if not answering:
        raise NodeError(
            f"no stacked member has a quorum ({silence}); no member was removed",
            "Bring the members back (`crictl ps -a`, `journalctl -u kubelet` on the control planes; `etcd-node "
            "status` on the others), then run again.",
        )
    witnesses = [address for address, _ in answering]
    # The cluster itself has recorded who joined.
    remove_gone(here, witnesses, answering[0][1], Claim(here, None))
    phase("wait until the stacked members are healthy")
    said = ""
    for _ in until(_HEALTHY_SECONDS, every=0.5):
        said = "; ".join(f"{name}: {why}" for name, why in etcd.troubles(here, here.members).items() if why)
        left = plan.joined(etcd.member_list(here, witnesses))
        if not said and not left:
            for name in roster.noted(here, witnesses):
                roster.forget(here, witnesses, name)
            say("the external members have left; the cluster is as it was before")
            return
        said = said or f"{', '.join(left)} has not left"
    raise NodeError(f"the stacked cluster is not healthy: {said}", "Run again.")


def stand_alone(plan: Plan) -> None:
    """Refuses to let the machines of the external members go while stacked ones need them for their quorum.

    Raises:
        NodeError: they are in one cluster, or that is unknown.
    """
    answers: Mapping[str, object]
    try:
        answers = etcd.each(lambda address: etcd.peer_view(plan, address), plan.planes)
    except NodeError as error:
        # Its certificates are gone.
        answers = {plan.plane: error}
    views = [answer for answer in answers.values() if isinstance(answer, etcd.Membership)]
    cluster, silence = listed.members(plan)
    views += [] if cluster is None else [cluster]
    way = "Set `migration.phase` to back and run `pulumi up`. Then run this again."
    if not views and files.read_bytes(places.ETCD) is None:
        say("has no etcd")
        return
    if not views:
        said = "; ".join([*(f"{name}: {answer}" for name, answer in answers.items()), silence])
        raise NodeError(
            f"no member of the stacked cluster answers ({said}), so it is unknown whether it needs the external "
            "members; nothing was removed",
            "Bring the control planes back. If this cluster is given up (`kubeadm reset`), remove "
            f"{places.ETCD} first. {way}",
        )
    mixed = [view for view in views if any(entry.name in plan.planes for entry in view.members)]
    if left := [name for view in mixed for name in plan.joined(view)]:
        raise NodeError(
            f"{', '.join(sorted(set(left)))} are members of the stacked cluster, which could lose its quorum without "
            "them; nothing was removed",
            way,
        )
    say("the control planes have their etcd for themselves")
