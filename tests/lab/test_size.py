"""More members: each joins as a learner and is promoted, one after another, and those that are there do not restart."""

from pathlib import Path

from lab import Machine
from tests.support.etcd import PKI, assert_serves_all_members, etcdctl, process_ids
from tests.support.machines import Machines
from tests.support.prober import probing
from tests.support.stacks import Stack, Stacks, machine_config

VALUES = 20


def test_a_cluster_grows_from_one_to_three_to_five_by_edits_of_the_list(
    machines: Machines, stacks: Stacks, tmp_path: Path
) -> None:
    found = machines.fresh(5)
    stack = stacks.new(found[:1])
    stack.up()
    _fill(found[0])
    for before, after in ((1, 3), (3, 5)):
        _grow(stack, found, before, after, tmp_path)
    stack.up("--expect-no-changes")


def _fill(machine: Machine) -> None:
    """20 MiB that do not shrink, so that a learner has something to fetch."""
    etcdctl_line = (
        f"etcdctl --cacert={PKI}/ca.crt --cert={PKI}/healthcheck-client.crt --key={PKI}/healthcheck-client.key "
        f"--endpoints=https://{machine.address}:2379"
    )
    put = f"head -c 786432 /dev/urandom | base64 -w0 | {etcdctl_line} put fill/$n >/dev/null"
    machine.run(f"for n in $(seq {VALUES}); do {put}; done", root=True)


def _grow(stack: Stack, found: list[Machine], before: int, after: int, scratch: Path) -> None:
    old, new = found[:before], found[before:after]
    running = process_ids(old)
    stack.config["machines"] = [machine_config(machine) for machine in old + new]
    with probing(stack, old, scratch, f"From {before} to {after} members") as probe:
        probe.mark("pulumi up")
        run = stack.up()
        probe.mark("done")
    print(f"{run.seconds:.1f} s")

    assert process_ids(old) == running
    assert_serves_all_members(old + new)
    assert probe.downs == []
    for machine in new:
        assert f"{machine.name}: joined as a learner" in run.text
        assert f"{machine.name}: is a voter" in run.text
        # Only what it has itself.
        own = etcdctl(machine, "get", "fill/", "--prefix", "--keys-only", "--consistency=s")
        assert own.count("fill/") == VALUES
    assert len(stack.outputs()["endpoints"]) == after
