"""SIGKILL at random moments of each kind of change: the cluster serves on, and the next `pulumi up` completes it."""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, lead
from tests.support.machines import Machines, busy
from tests.support.prober import probing
from tests.support.stacks import Stack, Stacks, machine_config

KILLS = 2
"""Kills per kind of change in `make test`, one per change; `make soak` has more."""
SOAK_KILLS = 10
EARLIEST = 1.0
"""Seconds after which a run first contacts machines."""


def starts(machine: Machine) -> int:
    """The number of starts of etcd on a machine."""
    return int(machine.run("journalctl -u etcd.service -o cat | grep -c '^Starting etcd'", root=True).stdout)


@dataclass(frozen=True)
class Kind:
    """A kind of change.

    Attributes:
        changes: Given a stack that is up, edits its configuration once per step; each step is a separate change.
        kills: How often each change is killed before it may complete, in `make soak`.
        latest: The latest moment of a kill, as a multiple of the bootstrap's duration, so that slow computers behave
            like fast ones: when the run is almost complete. Measured; one figure per step, then from the first again.
        starts: How often an existing member may start for one change.
        machines: The number of machines; the cluster begins on the first three.
        config: The initial configuration.
    """

    changes: Callable[[Stack, list[Machine]], Iterator[list[Machine]]]
    kills: int
    latest: tuple[float, ...]
    starts: int = 1
    machines: int = 3
    config: dict[str, Any] = field(default_factory=dict)


def changed_settings(stack: Stack, found: list[Machine]) -> Iterator[list[Machine]]:
    for number in itertools.count(200):
        stack.config["flags"] = {"max-txn-ops": str(number)}
        yield found


def upgrades(stack: Stack, found: list[Machine]) -> Iterator[list[Machine]]:
    for version in ("3.6.16", "3.7.3"):
        stack.config["version"] = version
        yield found


def sizes(stack: Stack, found: list[Machine]) -> Iterator[list[Machine]]:
    for count in itertools.cycle((5, 3)):
        stack.config["machines"] = [machine_config(machine) for machine in found[:count]]
        yield found[:count]


def rotations(stack: Stack, found: list[Machine]) -> Iterator[list[Machine]]:
    for old, new in itertools.pairwise({"name": str(number)} for number in itertools.count(1)):
        stack.config.update(authorities=[old, new], issuer=old["name"])
        yield found
        stack.config["issuer"] = new["name"]
        yield found
        stack.config["authorities"] = [new]
        yield found


KINDS = {
    "a changed setting": Kind(changed_settings, kills=1, latest=(1.0,)),
    # Before 3.7 a member also restarts to write a snapshot.
    "an upgrade": Kind(upgrades, kills=3, latest=(1.4,), starts=2, config={"version": "3.5.35"}),
    "a CA rotation": Kind(rotations, kills=2, latest=(1.0,)),
    "growing and shrinking": Kind(sizes, kills=2, latest=(1.8, 1.1), starts=0, machines=5),
}


WALKS = [pytest.param((change, KILLS), id=change) for change in KINDS]
WALKS += [pytest.param((change, SOAK_KILLS), id=f"{change}, more", marks=pytest.mark.soak) for change in KINDS]


@pytest.mark.parametrize("walk", WALKS)
def test_a_change_killed_at_random_moments_is_completed_by_the_next_up(
    machines: Machines, stacks: Stacks, tmp_path: Path, seed: str, walk: tuple[str, int]
) -> None:
    change, kills = walk
    kind = KINDS[change]
    chance = random.Random(f"{seed} {change}")  # noqa: S311 - the same moments again are the point
    killed = 0
    while killed < kills:
        found = machines.fresh(kind.machines)
        stack = stacks.new(found[:3], **kind.config)
        # Like the killed runs, with the state saved after every step.
        first = stack.begin_up().wait()
        assert first.code == 0, first.text
        bootstrap_seconds = first.seconds
        print(f"the bootstrap took {bootstrap_seconds:.1f} s")
        for members, latest in zip(kind.changes(stack, found), itertools.cycle(kind.latest)):
            before = {machine.name: starts(machine) for machine in found[:3]}
            # A new probe per change, with the client certificate from before it, like API servers.
            with probing(stack, found[:3], tmp_path, f"Killed, {change}") as probe:
                for run in range(min(kind.kills if kills > KILLS else 1, kills - killed)):
                    after = chance.uniform(EARLIEST, latest * bootstrap_seconds)
                    probe.mark(f"{after:.1f} s")
                    begin = time.monotonic()
                    if stack.up_killed_after(after) is not None:
                        if run == 0:  # it completed the whole change: the computer is less busy than at the bootstrap
                            bootstrap_seconds = min(bootstrap_seconds, (time.monotonic() - begin) / latest)
                        break
                    killed += 1
                    print(f"{killed}: killed after {after:.1f} s")
                last = stack.up().seconds
                print(f"the last run took {last:.1f} s")
                assert_serves_all_members(members)
            for machine in found[:3]:
                assert starts(machine) - before[machine.name] <= kind.starts, machine.name
            if killed == kills:
                break
        stack.up("--expect-no-changes")


def test_the_waiting_command_of_a_killed_run_does_nothing(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    """It waits for the third member, like the next run on another machine; both would restart a member at once."""
    found, stack = bootstrapped()
    before = {machine.name: starts(machine) for machine in found}
    hang = "kill -{} $(systemctl show etcd -p MainPID --value)"
    lead(found, found[1])  # it keeps the leadership when the first restarts, so the hanging one is not the leader
    with probing(stack, found[:2], tmp_path, "What a killed run has left"):
        stack.config["flags"] = {"max-txn-ops": "256"}
        running = stack.begin_up()
        try:
            with busy(found[1]):
                running.until_said(f"{found[1].name}: waits up to")
                found[2].run(hang.format("STOP"), root=True)
            running.until_said(f"{found[1].name}: waits for the other members to be healthy")
        finally:
            running.kill()
        found[2].run(hang.format("CONT"), root=True)
        found[1].run("while pgrep -f '[e]tcd-node --answer converge'; do sleep 0.2; done", root=True, timeout=90)
        assert {machine.name: starts(machine) - before[machine.name] for machine in found} == {
            found[0].name: 1,
            found[1].name: 0,
            found[2].name: 0,
        }
        stack.up()
    assert_serves_all_members(found)
