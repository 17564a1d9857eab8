"""Migrations from stacked etcd that are killed at any moment, and to more members."""

import json
import random
from collections.abc import Iterator

import pytest

from lab import kubernetes
from tests.support.etcd import assert_serves_all_members, running_versions
from tests.support.machines import Machines
from tests.support.stacked import Cluster, everything, restarted
from tests.support.stacks import Stacks
from tools.kubernetes import IMAGES, ensure_etcd_image, etcd_tag

# The flags that etcd 3.6 has under other names, in the order in which kubeadm sorts them.
FLAGS_OF_3_5 = [
    {"op": "replace", "path": f"/spec/containers/0/command/{index}", "value": value}
    for index, value in (
        (5, "--experimental-initial-corrupt-check=true"),
        (-1, "--experimental-watch-progress-notify-interval=5s"),
    )
]
KILLS = 10
LONGEST = 20.0
"""Seconds until a run is killed, at most: many end before."""


def _move(cluster: Cluster) -> None:
    """Every phase, each in one update, while a client uses every API server."""
    with cluster.used():
        cluster.phase("join")
    restarted(cluster, "switch")
    with cluster.used(moves=1):
        cluster.phase("leave")
        cluster.phase("done")


@pytest.mark.soak
def test_a_migration_that_is_killed_ten_times_ends_with_a_working_cluster(
    machines: Machines, stacks: Stacks, seed: str
) -> None:
    """Each killed run is repeated, or killed again. The only API server serves whenever a phase is complete."""
    chance = random.Random(f"{seed} migrations")  # noqa: S311 - the same walk again is the point
    found = machines.fresh(3)
    kills = 0

    def phases() -> Iterator[str]:
        while kills < KILLS:
            yield from ("join", "switch", "join", "back")
        yield from ("join", "switch", "leave", "done")

    try:
        planes = kubernetes.up_stacked(machines.lab, ["control-1"])
        cluster = Cluster(found, planes, stacks.new(found))
        before = everything(planes[0])
        for phase in phases():
            cluster.configure(phase)
            for _ in range(chance.randrange(1, 4)):
                seconds = chance.uniform(0.5, LONGEST)
                ended = cluster.stack.up_killed_after(seconds)
                print(f"{phase}: killed after {seconds:.1f} s" if ended is None else f"{phase}: ended with {ended}")
                kills += ended is None
                if ended == 0:
                    break
            cluster.phase(phase)
            with cluster.used():
                cluster.stack.up("--expect-no-changes")
            if phase in ("join", "back"):
                assert everything(planes[0]) == before
        assert_serves_all_members(found)
        assert cluster.names() == {machine.name for machine in found}
    finally:
        kubernetes.down(machines.lab)


@pytest.mark.soak
def test_a_stacked_member_of_etcd_3_5_moves_to_three(
    machines: Machines, stacks: Stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes 1.30 to 1.33 have it. kubeadm and the API server are of today, so etcd's flags are patched."""
    version, place = "3.5.35", "/etc/kubernetes/patches"
    documents = kubernetes._DOCUMENTS.replace("localAPI", f"patches: {{{{directory: {place}}}}}\nlocalAPI")
    monkeypatch.setattr(kubernetes, "_DOCUMENTS", documents)
    script = f"mkdir -p {place} && echo '{json.dumps(FLAGS_OF_3_5)}' > {place}/etcd+json.json"
    archives = (IMAGES, ensure_etcd_image(version).name)
    found = machines.fresh(3)
    try:
        configuration = kubernetes._STACKED.format(tag=etcd_tag(version))
        planes = kubernetes.up(machines.lab, configuration, script, ["control-1"], archives=archives)
        cluster = Cluster(found, planes, stacks.new(found, version=version))
        _move(cluster)
        assert running_versions(found) == [version] * 3
        assert cluster.names() == {machine.name for machine in found}
    finally:
        kubernetes.down(machines.lab)


@pytest.mark.soak
def test_three_stacked_members_move_to_five(machines: Machines, stacks: Stacks) -> None:
    found = machines.fresh(5)
    try:
        there = kubernetes.up_stacked(machines.lab, [f"control-{number}" for number in (1, 2, 3)])
        # Only members, stacked ones among them, and control planes reach etcd.
        firewall = {"clients": [plane.address for plane in there]}
        cluster = Cluster(found, there, stacks.new(found, firewall=firewall))
        _move(cluster)
        assert_serves_all_members(found)
    finally:
        kubernetes.down(machines.lab)
