"""Another version of etcd, one minor after another, one member after another."""

from pathlib import Path

from lab import Machine
from tests.support.etcd import assert_serves_all_members, etcdctl, process_ids
from tests.support.machines import Machines
from tests.support.prober import probing
from tests.support.stacks import Stacks


def _versions(machines: list[Machine]) -> list[str]:
    return [etcdctl(machine, "endpoint", "status", "--write-out=simple").split(", ")[2] for machine in machines]


def test_each_minor_in_turn_and_no_other_way(machines: Machines, stacks: Stacks, tmp_path: Path) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found, version="3.5.35")
    stack.up()
    assert _versions(found) == ["3.5.35"] * 3

    for before, version, says in (("3.5.35", "3.7.3", "skip a minor"),):
        stack.config["version"] = version
        _refused(stack.up(check=False).text, found, before, says)

    for version in ("3.6.16", "3.7.3"):
        stack.config["version"] = version
        with probing(stack, found, tmp_path, f"Upgrade to {version}") as probe:
            probe.mark("pulumi up")
            run = stack.up()
            probe.mark("done")
        print(f"{version}: {run.seconds:.1f} s")
        assert _versions(found) == [version] * 3
        assert probe.downs == [machine.name for machine in found]
        assert probe.report is not None
        assert probe.report.most_down == 1
        assert_serves_all_members(found)
