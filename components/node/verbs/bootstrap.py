"""bootstrap: permits this machine to begin, once, as an initial member of a cluster that has never existed."""

from __future__ import annotations

from ..data import identity, permission
from ..machine import measured, network
from ..protocol import wal
from ..shared import paths
from ..shared.errors import NodeError
from ..shared.say import say
from ..shared.spec import Spec


def bootstrap(spec: Spec) -> str:
    """Records the permission when all initial members reach each other; `converge` starts etcd.

    Returns:
        MAY_BEGIN, or an empty text if it gives no permission.

    Raises:
        NodeError: this machine belongs to another cluster, or the members do not reach each other.
    """
    if spec.member not in spec.initial_members:
        say("not an initial member: converge will join it")
        return ""
    known = identity.load()
    identity.refuse_another(known, spec)
    if known is None:
        raise NodeError("this machine was not prepared", "Run `pulumi up`: prepare comes first.")
    if known.cluster_id or wal.exists(spec.data_directory):
        say("has been a member before: converge decides")
        return ""
    permission.refuse_without([name for name in spec.initial_members if name not in spec.members])
    network.listen_again(spec)
    wanted = spec.token, {name: spec.members[name] for name in spec.initial_members}
    # Members that have begun have seen it; so has this one, if its run was interrupted.
    if permission.given(spec, known) != wanted and not network.somebody_runs(spec):
        measured.keep_links(network.rehearse(spec), asked=spec.auto_timers)
    permission.give(spec)
    return paths.MAY_BEGIN
