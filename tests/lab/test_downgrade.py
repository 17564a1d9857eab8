"""Back by one minor version, with etcd's own procedure or during an upgrade, and reversals."""

import json
from pathlib import Path

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, etcdctl, running_versions
from tests.support.manual import assert_as_in_the_manual
from tests.support.prober import probing
from tests.support.stacks import Stack


def _under_way(machine: Machine) -> bool:
    """Whether a downgrade is enabled in the cluster."""
    status = json.loads(etcdctl(machine, "endpoint", "status", "--write-out=json"))[0]["Status"]
    return bool(status.get("downgradeInfo", {}).get("enabled"))


def _up_first(stack: Stack) -> None:
    """Simulate a run that ends after the first member."""
    stack.up("--target", "**test-etcd-*-prepare", "--target", "**test-etcd-1-converge")


def test_a_downgrade_can_be_cancelled_and_resumed_and_an_upgrade_undone(
    bootstrapped: Bootstrapped, tmp_path: Path
) -> None:
    found, stack = bootstrapped()
    for number in range(100):
        etcdctl(found[0], "put", f"kept/{number}", "x" * 1000)

    with probing(stack, found, tmp_path, "Downgrade to 3.5.35, cancelled, made, and an upgrade undone") as probe:
        stack.config["version"] = "3.5.35"
        assert_as_in_the_manual(stack, "Downgrade")
        probe.mark("etcd-1 alone to 3.5.35")
        _up_first(stack)
        assert running_versions(found) == ["3.5.35", "3.6.16", "3.6.16"]
        assert _under_way(found[2])

        stack.config["version"] = "3.6.16"
        probe.mark("back to 3.6.16")
        back = stack.up()
        assert "cancelled the downgrade to 3.5" in back.text
        assert not _under_way(found[2])
        assert running_versions(found) == ["3.6.16"] * 3

        stack.config["version"] = "3.5.35"
        probe.mark("pulumi up to 3.5.35, killed")
        running = "ps -C etcd -o args= || true"
        stack.up_killed_when(lambda: "/v3.5.35/" in found[0].run(running).stdout)
        probe.mark("pulumi up to 3.5.35")
        run = stack.up()
        print(f"3.5.35: {run.seconds:.1f} s")
        assert running_versions(found) == ["3.5.35"] * 3

        # An incomplete upgrade is undone by the older version alone, without a downgrade.
        stack.config["version"] = "3.6.16"
        probe.mark("etcd-1 alone to 3.6.16")
        _up_first(stack)
        assert running_versions(found) == ["3.6.16", "3.5.35", "3.5.35"]
        stack.config["version"] = "3.5.35"
        probe.mark("and back")
        run = stack.up()
        assert "enabled the downgrade" not in run.text
        probe.mark("done")
    assert running_versions(found) == ["3.5.35"] * 3
    for machine in found:
        count = etcdctl(machine, "get", "kept/", "--prefix", "--count-only", "--write-out=fields")
        assert '"Count" : 100' in count
    assert_serves_all_members(found)
    assert probe.report.most_down == 1
