"""What must hold, and what is done, before a member joins a cluster of stacked members."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ..cluster import quorum_rules
from ..data import snapshot
from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.spec import Spec

_SKEW_SECONDS = 5.0
_COPIES = 2
"""So many machines keep a snapshot."""


def before_join(spec: Spec, voters: Sequence[quorum_rules.Voter], statuses: Mapping[str, etcd.Status]) -> None:
    """Refuses other sick voters and another patch version than theirs, and keeps a snapshot on the first machines.

    Args:
        voters: all voters; an entry that this member has left behind does not count, because it is removed.
        statuses: name -> status of the voters that gave one.

    Raises:
        NodeError: a voter is not healthy, versions or clocks differ, the quota is too low, or the snapshot cannot be
            kept; it did not join.
    """
    if said := "; ".join(
        f"{voter.name}: {voter.trouble}" for voter in voters if voter.trouble and voter.name != spec.member
    ):
        raise NodeError(
            f"not all members of the stacked cluster are healthy ({said}); {spec.member} did not join",
            f"{quorum_rules.remedy(said, 'Bring them back (`crictl ps -a`, `journalctl -u kubelet` there).')} Then run "
            "again.",
        )
    others = {name: statuses[name].version for name in spec.stacked if name in statuses}
    differ = [f"{name} runs {version}" for name, version in others.items() if version != spec.release.version]
    if differ or not others:
        raise NodeError(
            f"the stacked members must run exactly etcd {spec.release.version}, the version of this stack "
            f"({'; '.join(differ) or 'none of them gives its status'}); {spec.member} did not join",
            "Set `version` to theirs. Upgrade etcd before the migration, or after it.",
        )
    _refuse_skew(spec)
    size = max(status.db_size for status in statuses.values())
    if size >= spec.quota_bytes:
        raise NodeError(
            f"the database of the stacked cluster has {size} bytes, and the quota of this stack is {spec.quota_bytes}: "
            f"{spec.member} would raise the alarm NOSPACE, and etcd would reject all writes; it did not join",
            "Set `quota` at least as high as that of the stacked members (`--quota-backend-bytes` in their manifest).",
        )
    ours = [name for name in spec.members if name not in spec.stacked]
    if spec.member in ours[:_COPIES]:
        source = next(iter(others))
        address, status = spec.members[source], statuses[source]
        snapshot.keep(spec, spec.release.version, address, status, before="the first member joins a stacked cluster")


def _refuse_skew(spec: Spec) -> None:
    """Certificates, leases and logs of all members depend on their clocks."""
    asked = {name: spec.members[name] for name in spec.stacked}
    for name, there in etcd.each(lambda address: etcd.clock(spec, address), asked).items():
        ahead = time.time() - there if isinstance(there, float) else 0.0
        if abs(ahead) > _SKEW_SECONDS:
            raise NodeError(
                f"the clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of "
                f"{name}; {spec.member} did not join",
                "Correct the clocks (chrony, systemd-timesyncd), then run again.",
            )
