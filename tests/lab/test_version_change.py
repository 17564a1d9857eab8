"""Another version of etcd, one minor after another, one member after another."""

import itertools
from pathlib import Path

from lab import Machine
from tests.support.etcd import assert_serves_all_members, etcdctl, process_ids
from tests.support.machines import Machines
from tests.support.prober import probing
from tests.support.stacks import Stack, Stacks


def _versions(machines: list[Machine]) -> list[str]:
    return [etcdctl(machine, "endpoint", "status", "--write-out=simple").split(", ")[2] for machine in machines]


def _as_they_are(machines: list[Machine]) -> list[str]:
    """Everything that a run could have changed on the machines."""
    look = (
        "ls /opt/etcd; cat /etc/systemd/system/etcd.service /var/lib/etcd-node/*.json; sha256sum /etc/etcd/pki/*; "
        "readlink /usr/local/bin/etcdctl; systemctl show etcd -p MainPID -p ActiveEnterTimestampMonotonic"
    )
    return [machine.run(look, root=True).stdout for machine in machines]


def test_each_minor_in_turn_and_no_other_way(machines: Machines, stacks: Stacks, tmp_path: Path) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found, version="3.5.35")
    stack.up()
    assert _versions(found) == ["3.5.35"] * 3

    _refused(stack, found, "3.7.3", "skip a minor version")
    for version in ("3.6.16", "3.7.3"):
        before = process_ids(found)
        stack.config["version"] = version
        with probing(stack, found, tmp_path, f"Upgrade to {version}") as probe:
            probe.mark("pulumi up")
            run = stack.up()
            probe.mark("done")
        print(f"{version}: {run.seconds:.1f} s")
        assert ("restarts for a snapshot first" in run.text) == (version == "3.7.3")
        assert _versions(found) == [version] * 3
        assert all(after != before[name] for name, after in process_ids(found).items())
        # Before 3.7 a member restarts twice, the first time for a snapshot.
        assert [name for name, _ in itertools.groupby(probe.downs)] == [machine.name for machine in found]
        assert probe.report is not None
        assert probe.report.most_down == 1
        assert probe.report.leader_moves <= 3
        assert_serves_all_members(found)
    _refused(stack, found, "3.6.16", "go back by a minor version")


def _refused(stack: Stack, found: list[Machine], version: str, says: str) -> None:
    """The wish is refused, and nothing changes on any machine."""
    before = _as_they_are(found)
    stack.config["version"] = version
    run = stack.up(check=False)
    assert run.code != 0
    assert says in run.text
    assert "nothing was changed" in run.text
    assert _as_they_are(found) == before
