"""A cluster with data grows and shrinks step by step; members that stay are not restarted."""

from pathlib import Path

import pytest

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import OPTIONS, assert_no_drift, assert_serves_all_members, etcdctl, lead, process_ids
from tests.support.machines import Machines
from tests.support.manual import assert_as_in_the_manual
from tests.support.prober import probed_up
from tests.support.stacks import Run, Stack, Stacks, machine_config

VALUES = 200


# Larger sizes only repeat the same steps.
FARTHEST = [5, pytest.param(7, marks=pytest.mark.soak)]


@pytest.mark.parametrize("farthest", FARTHEST)
def test_a_cluster_with_200_mib_grows_and_shrinks(
    machines: Machines, stacks: Stacks, tmp_path: Path, farthest: int
) -> None:
    found = machines.fresh(farthest)
    stack = stacks.new(found[:1])
    stack.up()
    # Somebody deletes every key: those of the program.
    assert int(etcdctl(found[0], "del", "", "--prefix")) > 0
    fill(found[0])
    # On one computer 200 MiB are copied instantly; with this limit the first joining member needs some 12 s.
    machines.lab.slow(found[1].name)
    run = grow(stack, found, 1, 3, tmp_path)
    assert f"{found[1].name}: waits until it has all data" in run.text
    machines.lab.heal(found[1].name)
    for size in range(3, farthest, 2):
        grow(stack, found, size, size + 2, tmp_path)
    stack.up("--expect-no-changes")
    for size in range(farthest, 3, -2):
        shrink(stack, found, size, size - 2, tmp_path)
    stack.up("--expect-no-changes")
    _exchange_in_the_order_of_the_list(stack, found)


def fill(machine: Machine, values: int = VALUES) -> None:
    """Write random data, a MiB per value, so that a learner has something to fetch."""
    etcdctl_line = f"etcdctl {OPTIONS} --endpoints=https://{machine.address}:2379"
    put = f"head -c 786432 /dev/urandom | base64 -w0 | {etcdctl_line} put fill/$n >/dev/null"
    machine.run(f"for n in $(seq {values}); do {put}; done", root=True, timeout=600)


def grow(stack: Stack, found: list[Machine], before: int, after: int, scratch: Path, *, values: int = VALUES) -> Run:
    old, new = found[:before], found[before:after]
    running = process_ids(old)
    stack.config["machines"] = [machine_config(machine) for machine in old + new]
    if after == 5:
        assert_as_in_the_manual(stack, "More members")
    run, probe = probed_up(stack, old, scratch, f"From {before} to {after} members")

    assert process_ids(old) == running
    assert_serves_all_members(old + new)
    assert probe.downs == []
    for machine in new:
        assert f"{machine.name}: joined as a learner" in run.text
        assert f"{machine.name}: is a voter" in run.text
        # A serializable read returns only the member's own data.
        own = etcdctl(machine, "get", "fill/", "--prefix", "--keys-only", "--consistency=s")
        assert own.count("fill/") == values
    assert len(stack.outputs()["endpoints"]) == after
    return run


def shrink(stack: Stack, found: list[Machine], before: int, after: int, scratch: Path) -> None:
    """The leader is one of the leaving members."""
    there, staying, leaving = found[:before], found[:after], found[after:before]
    lead(there, leaving[0])
    running = process_ids(staying)
    stack.config["machines"] = [machine_config(machine) for machine in staying]
    if after == 3:
        assert_as_in_the_manual(stack, "Fewer members")
    run, probe = probed_up(stack, staying, scratch, f"From {before} to {after} members")

    assert process_ids(staying) == running
    assert_serves_all_members(staying)
    assert probe.downs == []
    assert probe.report.leader_moves == 1
    said = [run.text.index(f"{machine.name} has left the cluster") for machine in leaving]
    assert said[1] < said[0], "the leader is the last to leave"
    for machine in leaving:
        assert machine.run("systemctl is-active etcd", check=False).stdout.strip() == "inactive"
        assert machine.run("test -e /var/lib/etcd/member", check=False, root=True).returncode != 0
        assert "retired" in machine.run("ls -d /var/lib/etcd.*", root=True).stdout


def _exchange_in_the_order_of_the_list(stack: Stack, found: list[Machine]) -> None:
    """Without a known last update, no joining member is converged first: a leaving one stays until it has joined."""
    before, members = process_ids(found[:2]), [*found[:2], found[3]]
    stack.config["machines"] = [machine_config(machine) for machine in members]
    stack.left(applied=None)
    run = stack.up()
    assert run.text.index("etcd-4: is a voter") < run.text.index("etcd-3 has left the cluster")
    assert process_ids(found[:2]) == before
    assert_serves_all_members(members)
    assert_no_drift(members)


def test_a_change_starts_a_stopped_remaining_member_first(bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped()
    found[0].run("systemctl stop etcd", root=True)
    stack.config["machines"] = [machine_config(found[0])]
    run = stack.up()
    for machine in found[1:]:
        assert f"{machine.name} has left the cluster" in run.text
    assert_serves_all_members(found[:1])

    # The bootstrap members return without any answer: two of three could bootstrap a second cluster.
    etcdctl(found[0], "put", "kept", "yes")
    found[0].run("systemctl stop etcd", root=True)
    stack.config["machines"] = [machine_config(machine) for machine in found]
    run = stack.up()
    for machine in found[1:]:
        assert f"{machine.name}: is a voter" in run.text
    assert etcdctl(found[2], "get", "kept", "--print-value-only").strip() == "yes"
    assert_serves_all_members(found)
