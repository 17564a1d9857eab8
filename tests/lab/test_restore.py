"""A cluster is restored from a snapshot by one edit, whatever is left of it, once."""

import random
from pathlib import Path

import pytest

from lab import Machine
from tests.support.api_server import ApiServer
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_no_drift, assert_serves_all_members, etcdctl, process_ids, write_client_files
from tests.support.machines import Machines
from tests.support.restores import BUMP, MOMENTS, killed, revision, save_snapshot
from tests.support.stacks import Stack, Stacks

RESTORE_GAP = 10.0
"""Seconds without service that a restore may cost on this busy computer."""


class Restored:
    """A cluster whose members were restored, and the snapshot."""

    def __init__(self, found: list[Machine], stack: Stack, snapshot: Path, revision: int) -> None:
        self.found, self.stack, self.snapshot, self.revision = found, stack, snapshot, revision


def _value(machine: Machine, key: str) -> str:
    return etcdctl(machine, "get", key, "--print-value-only").strip()


def _aside(machine: Machine) -> str:
    return machine.run("ls -d /var/lib/etcd.* 2>/dev/null", check=False, root=True).stdout


@pytest.fixture(scope="module")
def restored(machines: Machines, bootstrapped: Bootstrapped, tmp_path_factory: pytest.TempPathFactory) -> Restored:
    """All three members lost everything, and were restored."""
    found, stack = bootstrapped()
    for number in range(20):
        etcdctl(found[0], "put", f"objects/{number}", "old")
    etcdctl(found[0], "put", "kept", "yes")
    snapshot = tmp_path_factory.mktemp("restore") / "snapshot.db"
    save_snapshot(found[1], snapshot)
    saved = revision(found[0])
    etcdctl(found[0], "put", "kept", "no")
    etcdctl(found[0], "put", "later", "lost")
    before = process_ids(found)

    stack.config["restore"] = {"from": str(snapshot), "confirm": "production"}
    refused = stack.up(check=False)
    assert refused.code != 0
    assert "restore.confirm: given 'production'" in refused.text
    assert process_ids(found) == before

    machines.lab.wipe(*[machine.name for machine in found])
    found = [machines.lab.machine(machine.name) for machine in found]
    stack.config["restore"]["confirm"] = "test"
    run = stack.up()
    for step in (f"revision {saved}", "EVERYTHING WRITTEN AFTER THE SNAPSHOT IS LOST", "0 of 3 voters running"):
        assert step in run.text
    return Restored(found, stack, snapshot, saved)


def test_a_cluster_that_lost_all_data_is_that_of_the_snapshot(restored: Restored) -> None:
    found = restored.found
    assert_serves_all_members(found)
    assert_no_drift(found)
    for machine in found:
        assert _value(machine, "kept") == "yes"
        assert _value(machine, "later") == ""
        assert etcdctl(machine, "get", "objects/", "--prefix", "--print-value-only").split() == ["old"] * 20
    assert revision(found[0]) > restored.revision + BUMP
    # A client that goes on from what it saw last must list again.
    for old in (1, restored.revision + 2):
        watch = f"timeout 5 /usr/local/bin/etcdctl --endpoints=https://{found[0].address}:2379 "
        watch += "--cacert=/etc/etcd/pki/ca.crt --cert=/etc/etcd/pki/healthcheck-client.crt "
        watch += f"--key=/etc/etcd/pki/healthcheck-client.key watch --rev={old} kept 2>&1"
        said = found[0].run(watch, check=False, root=True).stdout
        assert "required revision has been compacted" in said


def test_a_second_up_restores_nothing_and_needs_no_file(restored: Restored) -> None:
    found, stack = restored.found, restored.stack
    before = process_ids(found)
    etcdctl(found[0], "put", "after", "kept")
    restored.snapshot.rename(restored.snapshot.with_name("away.db"))
    stack.up("--expect-no-changes")
    restored.snapshot.with_name("away.db").rename(restored.snapshot)
    assert process_ids(found) == before
    assert _value(found[0], "after") == "kept"


def test_a_majority_that_is_away_is_not_restored_and_an_interrupted_restore_is_completed(
    machines: Machines, restored: Restored, seed: str
) -> None:
    found, stack = restored.found, restored.stack
    number = revision(found[0])
    for machine in found[:2]:
        machine.run("systemctl stop etcd", root=True)
    before, aside = process_ids(found), [_aside(machine) for machine in found]
    stack.config["restore"]["number"] = 2
    refused = stack.up(check=False)
    assert refused.code != 0
    assert "a majority of the members is merely away: " in refused.text
    assert process_ids(found) == before
    assert [_members_in(machine) for machine in found] == ["1"] * 3

    machines.lab.wipe(found[1].name, found[2].name)
    found[1:] = [machines.lab.machine(machine.name) for machine in found[1:]]
    chosen = random.Random(f"{seed} restore").sample(MOMENTS, 2)  # noqa: S311  the same moments again are the point
    for moment in sorted(chosen, key=MOMENTS.index):
        killed(stack, found, moment)
    stack.up()

    assert_serves_all_members(found)
    for machine in found:
        assert (_value(machine, "kept"), _value(machine, "after")) == ("yes", "")
    assert revision(found[0]) > number
    moved = [path for path in _aside(found[0]).split() if path not in aside[0]]
    assert len(moved) == 1, "only the old data were moved aside"
    assert "before-restore-2" in moved[0]
    assert found[0].run(f"test -d {moved[0]}/member/wal", check=False, root=True).returncode == 0
    stack.up("--expect-no-changes")

    # Without the key, nothing happens to the members.
    before = process_ids(found)
    del stack.config["restore"]
    stack.up()
    assert process_ids(found) == before
    stack.up("--expect-no-changes")


def _members_in(machine: Machine) -> str:
    """Number of directories that hold a member, without those that wait for their place."""
    look = "ls -d /var/lib/etcd*/member/wal | grep -cv etcd-restored"
    return machine.run(look, check=False, root=True).stdout.strip()


def test_five_members_begin_with_a_snapshot_when_machines_and_state_are_lost(
    machines: Machines, stacks: Stacks, restored: Restored
) -> None:
    """By the first update of a new stack, which does not know the numbers of the old one."""
    found = machines.fresh(5)
    stack = stacks.new(found, restore={"from": str(restored.snapshot), "confirm": "test", "number": 9})
    stack.up()
    assert_serves_all_members(found)
    for machine in found:
        assert (_value(machine, "kept"), _value(machine, "later")) == ("yes", "")
    assert revision(found[0]) > restored.revision + 9 * BUMP
    stack.up("--expect-no-changes")


@pytest.mark.soak
@pytest.mark.parametrize("members", [3, 5])
def test_a_restore_that_is_killed_at_any_moment_is_completed_by_the_next_up(
    machines: Machines, stacks: Stacks, tmp_path: Path, members: int
) -> None:
    """The first one is not killed: a client measures the time without service."""
    found, snapshot = machines.fresh(members), tmp_path / "snapshot.db"
    stack = stacks.new(found)
    stack.up()
    etcdctl(found[0], "put", "kept", "yes")
    write_client_files(tmp_path, stack.outputs())
    client = ApiServer(tmp_path, found)
    client.start()
    save_snapshot(found[1], snapshot)
    restore = {"from": str(snapshot), "confirm": "test"}
    for number, moment in enumerate(["", *MOMENTS], start=1):
        etcdctl(found[0], "put", "kept", f"not {number}")
        before = revision(found[0])
        stack.config["restore"] = {**restore, "number": number}
        if moment:
            killed(stack, found, moment)
        stack.up()
        assert_serves_all_members(found)
        for machine in found:
            assert _value(machine, "kept") == "yes", moment
            # Where the killed run has restored nothing yet, and where it has.
            assert len(_moved(machine, number)) == 1, moment
        assert revision(found[0]) > before
        if not moment:
            client.finish()
            print(f"{members} members: {client.longest_gap:.1f} s without service")
            assert client.longest_gap < RESTORE_GAP
    stack.up("--expect-no-changes")


def _moved(machine: Machine, number: int) -> list[str]:
    return [path for path in _aside(machine).split() if f"-before-restore-{number}-" in path]
