"""Defragment one member when all members are healthy. Leadership goes first."""

from __future__ import annotations

import shutil
from functools import partial

from ..cluster import leadership, quorum_gate, quorum_rules, space
from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.say import more_time, phase, refuse_abandoned, say, size
from ..shared.spec import Spec

_SLOWEST = 10 << 20
"""Bytes per second: lowest assumed rate at which etcd writes the new file."""
_LEAST_SECONDS = 30.0
_SPARE = 64 << 20


def longest(size: int) -> float:
    """Seconds that a defragmentation may take, with the waits before and after it.

    Args:
        size: of the database file, in bytes.
    """
    return _seconds(size) + 2 * quorum_gate.GATE_SECONDS


def _seconds(size: int) -> float:
    return _LEAST_SECONDS + size / _SLOWEST


def defragment(spec: Spec, name: str, cluster: etcd.Membership, *, full: bool = False) -> etcd.Status:
    """Defragments a member, this one or another, and waits until it has caught up; returns its status.

    Etcd answers none of the member's clients while it writes the file. The member takes part in raft all the same, so
    the others serve. A leader would keep the leases of all clients waiting, so it hands over first.

    Args:
        spec: all voters, with their addresses.
        cluster: the present member list.
        full: the database may be full.

    Raises:
        NodeError: not all members are healthy (nothing was defragmented), or they are not afterwards, or etcd failed.
    """
    rule = partial(quorum_rules.refuse_unhealthy, f"{name} would be defragmented")
    polled = quorum_gate.wait(spec, cluster, rule, full=full)
    own = polled[1][name]
    if name == spec.member:
        _refuse_small_disk(spec, own)
    if own.leader == own.member_id and len(cluster.voters) > 1:
        untouched = "nothing was defragmented"
        polled = leadership.hand_over(spec, name, cluster, polled, rule, untouched=untouched, full=full)
    refuse_abandoned()
    phase(f"defragment {name}")
    seconds = _seconds(own.db_size)
    more_time(seconds)
    code, _, said = etcd.etcdctl(spec, [spec.members[name]], ["defrag"], seconds, check=False)
    if code != 0:
        raise _failed(name, said)
    phase(f"wait until {name} has caught up with the others")
    rule = partial(quorum_rules.refuse_unhealthy, f"{name} was defragmented")
    now = quorum_gate.wait(spec, cluster, rule, full=full)[1][name]
    say(f"{name}: {size(own.db_size)} -> {space.describe(now)}")
    return now


def _failed(name: str, said: str) -> NodeError:
    # Only its own machine knows the room on a member's disk.
    if "no space left on device" in said:
        return NodeError(
            f"the disk of {name} has no room for the new file of the database ({said}); its etcd has removed that file "
            "and continues with the old one",
            f"Make room on the file system of its data directory (`df -h` on {name}), then run again.",
        )
    return NodeError(f"{name} was not defragmented: {said}", etcd.remedy(said))


def _refuse_small_disk(spec: Spec, status: etcd.Status) -> None:
    """Refuses if this machine has no room for the new file, which is written beside the old one.

    Etcd needs the same disk for its log, and ends when it cannot write that.

    Raises:
        NodeError: there is not enough; nothing was defragmented.
    """
    free = shutil.disk_usage(spec.data_directory).free
    if free < status.db_in_use + _SPARE:
        raise NodeError(
            f"{spec.data_directory} has {size(free)} free, and the new file of the database may need "
            f"{size(status.db_in_use + _SPARE)}; nothing was defragmented",
            "Make room on that file system, then run again.",
        )
