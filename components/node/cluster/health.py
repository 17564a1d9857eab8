"""Health of the whole cluster, as its members report it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..protocol import etcd
from ..shared.errors import NodeError
from ..shared.spec import Spec


def examine(spec: Spec) -> tuple[dict[str, Any], list[str]]:
    """Asks every member once.

    Returns:
        The report, as `etcd-node health` prints it, and what is wrong: one line each, empty when all is well.
    """
    answers = etcd.each(lambda address: etcd.ready(spec, address), spec.members)
    wrong = []
    for name, answer in answers.items():
        if not isinstance(answer, etcd.Ready):
            wrong.append(f"{name} ({spec.members[name]}): {answer}")
        elif answer.trouble:
            wrong.append(f"{name}: {answer.trouble}")
    reached = {name: address for name, address in spec.members.items() if isinstance(answers[name], etcd.Ready)}
    if not reached:
        return {}, wrong
    try:
        members = etcd.member_list(spec, list(reached.values()))
        raised = etcd.alarms(spec, list(reached.values()))
    except NodeError as error:
        return {}, [*wrong, error.cause]
    statuses = etcd.statuses(spec, reached)
    found = judge(spec.members, spec.release.version, members, statuses, raised)
    silent = {f"{name}: no status" for name in spec.members if name not in reached}
    wrong += [line for line in found if line not in silent]
    return _report(spec, members, statuses), wrong


def judge(
    wanted: Mapping[str, str],
    version: str,
    cluster: etcd.Membership,
    statuses: Mapping[str, etcd.Status],
    alarms: Sequence[tuple[int, str]],
) -> list[str]:
    """What is wrong with a cluster, one line each; pure.

    Args:
        wanted: name -> address of the desired members.
        alarms: (member ID, kind) of active alarms.
    """
    wrong = []
    names = {entry.id: entry.name for entry in cluster.members}
    for entry in cluster.members:
        name = entry.name or f"an unstarted member at {', '.join(entry.peer_urls)}"
        if entry.name not in wanted:
            wrong.append(f"{name} (ID {entry.id:x}) is in the cluster, but not in this configuration")
        elif entry.learner:
            wrong.append(f"{name}: still a learner")
    wrong += [f"{name}: not in the cluster" for name in wanted if name not in names.values()]
    for name, status in statuses.items():
        if status.cluster_id != cluster.cluster_id:
            wrong.append(f"{name}: in the cluster {status.cluster_id:x}, the others in {cluster.cluster_id:x}")
        if status.version != version:
            wrong.append(f"{name}: runs {status.version}, not {version}")
    wrong += [f"{name}: no status" for name in wanted if name not in statuses]
    leaders = {status.leader for status in statuses.values()}
    if statuses and (len(leaders) != 1 or leaders == {0}):
        said = ", ".join(f"{name} says {names.get(status.leader, 'none')}" for name, status in statuses.items())
        wrong.append(f"no single leader: {said}")
    wrong += [f"{names.get(member_id) or format(member_id, 'x')}: alarm {kind}" for member_id, kind in alarms]
    return wrong


def _report(spec: Spec, cluster: etcd.Membership, statuses: Mapping[str, etcd.Status]) -> dict[str, Any]:
    names = {entry.id: entry.name for entry in cluster.members}
    leader = next((status.leader for status in statuses.values()), 0)
    return {
        "checked": int(time.time()),
        "cluster_id": f"{cluster.cluster_id:x}",
        "leader": names.get(leader, ""),
        "version": spec.release.version,
        "members": [
            {
                "name": name,
                "id": f"{status.member_id:x}",
                "endpoint": spec.client_url(spec.members[name]),
                "version": status.version,
                "role": "learner" if status.learner else "leader" if status.leader == status.member_id else "follower",
                "db_size_bytes": status.db_size,
                "db_in_use_bytes": status.db_in_use,
            }
            for name, status in ((each, statuses[each]) for each in spec.members if each in statuses)
        ],
    }
