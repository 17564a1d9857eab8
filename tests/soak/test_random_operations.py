"""Random changes and faults for an hour: no acknowledged write is lost, and the next `pulumi up` completes a change."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import Machine
from tests.support.etcd import assert_serves_all_members, lead
from tests.support.machines import Machines
from tests.support.prober import GAP_SECONDS, probing
from tests.support.stacks import Stack, Stacks, machine_config

VERSIONS = ("3.6.16", "3.7.3")
MACHINES = 6
UNPLANNED_GAP = 20.0
"""Seconds without an acknowledgement if a member may die or be partitioned without notice; most of it is an
election. A machine that loses power while another member restarts interrupts the quorum until one of them is back."""


class Cluster:
    """The cluster, its changes and its faults. Each change is an edit, followed by one or more `pulumi up`.

    Attributes:
        members: those in the configuration, in its order.
    """

    def __init__(self, machines: Machines, stacks: Stacks, chance: random.Random) -> None:
        self.lab, self.chance = machines.lab, chance
        self.machines = machines.fresh(MACHINES)
        self.members = self.machines[:3]
        self.stack: Stack = stacks.new(self.members)
        self.stack.up()
        self._authority = 1

    def _list(self, members: list[Machine]) -> None:
        there = {row["name"]: row for row in self.stack.config["machines"]}
        self.members = members
        self.stack.config["machines"] = [there.get(each.name) or machine_config(each) for each in members]

    def setting(self) -> Iterator[str]:
        """A new value of a flag: every member restarts."""
        value = str(self.chance.randrange(129, 4096))
        self.stack.config["flags"] = {"max-txn-ops": value}
        yield f"max-txn-ops {value}"

    def certificates(self) -> Iterator[str]:
        """All leaf certificates are reissued."""
        self.stack.config["certificates"] = {"validityHours": self.chance.randrange(1000, 9000)}
        yield "certificates reissued"

    def size(self) -> Iterator[str]:
        """Two more members, or two fewer."""
        if len(self.members) > 3:
            leaving = self.chance.sample(self.members, 2)
            self._list([each for each in self.members if each not in leaving])
        else:
            self._list([*self.members, *[each for each in self.machines if each not in self.members][:2]])
        yield f"{len(self.members)} members"

    def exchange(self) -> Iterator[str]:
        """A machine with another name replaces a member's."""
        old = self.chance.choice(self.members)
        new = next(each for each in self.machines if each not in self.members)
        self._list([new if each == old else each for each in self.members])
        yield f"{new.name} for {old.name}"

    def wipe(self) -> Iterator[str]:
        """A member's machine is lost and replaced by a new one in its slot."""
        lost = self.chance.choice(self.members)
        self.lab.kill(lost.name)
        self.lab.wipe(lost.name)
        (row,) = [row for row in self.stack.config["machines"] if row["name"] == lost.name]
        row["identity"] = f"{row.get('identity', '')}+"
        yield f"{lost.name} is wiped"

    def version(self) -> Iterator[str]:
        """The other version of the two."""
        now = self.stack.config.get("version", VERSIONS[0])
        self.stack.config["version"] = next(each for each in VERSIONS if each != now)
        yield f"etcd {self.stack.config['version']}"

    def authority(self) -> Iterator[str]:
        """A CA change, in three updates."""
        old, new = {"name": str(self._authority)}, {"name": str(self._authority + 1)}
        self._authority += 1
        self.stack.config.update(authorities=[old, new], issuer=old["name"])
        yield f"CA {new['name']} is trusted"
        self.stack.config["issuer"] = new["name"]
        yield f"CA {new['name']} issues"
        self.stack.config["authorities"] = [new]
        yield f"CA {old['name']} goes"

    # Faults during the stack's `pulumi up`.

    def nothing(self) -> bool:
        """No fault: the run succeeds."""
        self.stack.up()
        return True

    def kill(self) -> bool:
        """SIGKILL ends the run."""
        return self.stack.up_killed_after(self.chance.uniform(1, 12)) == 0

    def power_cut(self) -> bool:
        """A member's machine has no power for a while."""
        return self._fault(self.lab.kill, self.lab.start)

    def cut_off(self) -> bool:
        """A member is partitioned from the others for a while."""
        return self._fault(self.lab.isolate, self.lab.heal)

    def _fault(self, begin: Callable[[str], object], end: Callable[[str], object]) -> bool:
        victim = self.chance.choice(self.members).name
        running = self.stack.begin_up()
        try:
            time.sleep(self.chance.uniform(1, 8))
            begin(victim)
            time.sleep(self.chance.uniform(1, 5))
            end(victim)
            return running.wait().code == 0
        finally:
            running.kill()


CHANGES = (
    Cluster.setting,
    Cluster.certificates,
    Cluster.size,
    Cluster.exchange,
    Cluster.wipe,
    Cluster.version,
    Cluster.authority,
)
FAULTS = (Cluster.nothing, Cluster.kill, Cluster.power_cut, Cluster.cut_off)


@pytest.mark.soak
def test_random_changes_and_faults_lose_no_write(
    machines: Machines, stacks: Stacks, tmp_path: Path, seed: str, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(f"{seed} operations")  # noqa: S311 - the same walk again is the point
    cluster = Cluster(machines, stacks, chance)
    end = time.monotonic() + 60 * float(request.config.getoption("--minutes"))
    done = acknowledged = 0
    while time.monotonic() < end:
        before = cluster.members
        for edit in chance.choice(CHANGES)(cluster):
            fault = chance.choice(FAULTS)
            planned = fault in (Cluster.nothing, Cluster.kill) and "wiped" not in edit
            stay = [each for each in before if each in cluster.members]
            title = f"{done}: {edit}, {fault.__name__.replace('_', ' ')}"
            gap = GAP_SECONDS if planned else UNPLANNED_GAP
            with probing(cluster.stack, stay, tmp_path, title, gap=gap) as probe:
                if not fault(cluster):
                    cluster.stack.up()
                assert_serves_all_members(cluster.members)
            cluster.stack.up("--expect-no-changes")
            lead(cluster.members, chance.choice(cluster.members))
            done += 1
            acknowledged += probe.report.acknowledged
    print(f"{done} changes, {acknowledged} writes acknowledged, none lost")
    assert done
