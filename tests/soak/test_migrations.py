"""Migrations from stacked etcd that are killed at any moment, and from an older etcd, to more members."""

import random

import pytest

from lab import kubernetes
from tests.support.etcd import assert_serves_all_members, running_versions
from tests.support.machines import Machines
from tests.support.stacked import Cluster, everything, restarted
from tests.support.stacks import Stacks

KILLS = 10
WALK = ("join", "switch", "join", "back", "join", "switch", "leave", "done")
"""With both ways back."""
LONGEST = 30.0
"""Seconds until a run is killed, at most: some phases end before."""


@pytest.mark.soak
def test_a_migration_that_is_killed_ten_times_ends_with_a_working_cluster(
    machines: Machines, stacks: Stacks, seed: str
) -> None:
    """Each killed run is repeated, or killed again. The only API server serves whenever a phase is complete."""
    chance = random.Random(f"{seed} migrations")  # noqa: S311 - the same walk again is the point
    found = machines.fresh(3)
    kills = 0
    try:
        planes = kubernetes.up_stacked(machines.lab, ["control-1"])
        cluster = Cluster(found, planes, stacks.new(found))
        before = everything(planes[0])
        for phase in WALK:
            left = chance.randrange(1, 4) if kills < KILLS else 0
            for _ in range(left):
                cluster.configure(phase)
                seconds = chance.uniform(0.5, LONGEST)
                ended = cluster.stack.up_killed_after(seconds)
                kills += ended is None
                print(f"{phase}: killed after {seconds:.1f} s" if ended is None else f"{phase}: ended with {ended}")
            cluster.phase(phase)
            with cluster.used():
                cluster.stack.up("--expect-no-changes")
            if phase in ("join", "back"):
                assert everything(planes[0]) == before
        assert_serves_all_members(found)
        assert cluster.names() == {machine.name for machine in found}
        print(f"{kills} kills")
        assert kills >= KILLS
    finally:
        kubernetes.down(machines.lab)


@pytest.mark.soak
@pytest.mark.parametrize(("version", "planes", "members"), [("3.5.35", 1, 3), ("3.6.16", 3, 5)])
def test_stacked_members_of_other_versions_move_to_more_members(
    machines: Machines, stacks: Stacks, version: str, planes: int, members: int
) -> None:
    """The API servers are of the present Kubernetes, whatever their etcd is."""
    found = machines.fresh(members)
    try:
        names = [f"control-{number}" for number in range(1, planes + 1)]
        there = kubernetes.up_stacked(machines.lab, names, etcd=version)
        cluster = Cluster(found, there, stacks.new(found, version=version))
        with cluster.used():
            cluster.phase("join")
        restarted(cluster, "switch")
        with cluster.used():
            cluster.phase("leave")
            cluster.phase("done")
        assert_serves_all_members(found)
        assert running_versions(found) == [version] * members
    finally:
        kubernetes.down(machines.lab)
