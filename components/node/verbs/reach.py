"""reach: whether this control plane reaches the machines of the external members; changes nothing."""

from __future__ import annotations

from ..control_plane.plan import Plan
from ..machine import network
from ..shared.errors import NodeError
from ..shared.say import phase, say


def reach(plan: Plan) -> None:
    """Refuses closed ports: this control plane's etcd will need the peer port, and its API server the client port.

    Raises:
        NodeError: one is closed; no member has joined.
    """
    phase("connect to the machines of the external members")
    ports = (plan.client_port, plan.peer_port)
    if closed := network.unreachable(plan.members, ports):
        raise NodeError(
            f"{plan.plane} cannot reach {'; '.join(closed)}; no member has joined",
            f"Ports {ports[0]} and {ports[1]} of every member must be open to all control planes. Then run again.",
        )
    say("reaches the machines of all external members")
