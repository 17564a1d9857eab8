"""Migrations from stacked etcd that are killed at any moment, and to more members."""

import random
from collections.abc import Iterator

import pytest

from lab import kubernetes
from tests.support.etcd import assert_serves_all_members
from tests.support.machines import Machines
from tests.support.stacked import Cluster, everything, restarted
from tests.support.stacks import Stacks

KILLS = 10
LONGEST = 20.0
"""Seconds until a run is killed, at most: many end before."""


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
def test_three_stacked_members_move_to_five(machines: Machines, stacks: Stacks) -> None:
    found = machines.fresh(5)
    try:
        there = kubernetes.up_stacked(machines.lab, [f"control-{number}" for number in (1, 2, 3)])
        cluster = Cluster(found, there, stacks.new(found))
        with cluster.used():
            cluster.phase("join")
        restarted(cluster, "switch")
        with cluster.used():
            cluster.phase("leave")
            cluster.phase("done")
        assert_serves_all_members(found)
    finally:
        kubernetes.down(machines.lab)
