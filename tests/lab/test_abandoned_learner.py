"""A machine that dies during its join is replaced by another one with one edit and one `pulumi up`."""

from pathlib import Path

from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, member_list, process_ids
from tests.support.machines import Machines
from tests.support.prober import probing
from tests.support.stacks import machine_config


def test_a_dead_learner_is_replaced_by_another_machine(
    machines: Machines, bootstrapped: Bootstrapped, tmp_path: Path
) -> None:
    found, stack = bootstrapped(6)
    stay, lost, new = found[:3], found[3], found[4:]
    before = process_ids(stay)
    # A quick learner would be a voter before its power can be cut, so this one is stopped once it has a log.
    began = "until test -e /var/lib/etcd/member/wal; do sleep 0.01; done; kill -STOP $(systemctl show -P MainPID etcd)"
    lost.run(["systemd-run", "--unit=freeze", "--nice=-20", "sh", "-c", began], root=True)
    with probing(stack, stay, tmp_path, "A learner given up") as probe:
        stack.config["machines"] = [machine_config(machine) for machine in (*stay, lost, new[0])]
        running = stack.begin_up()
        try:
            running.until_said(f"{lost.name}: joined as a learner")
            probe.mark(f"{lost.name} dies")
            machines.lab.kill(lost.name)
            assert running.wait().code != 0
        finally:
            running.kill()
        # It may have been stopped before it published its name.
        assert [row.get("name", lost.name) for row in member_list(stay[0]) if row.get("isLearner")] == [lost.name]

        stack.config["machines"] = [machine_config(machine) for machine in (*stay, *new)]
        probe.mark("another machine, pulumi up")
        run = stack.up(check=False)
        probe.mark("done")
        # The lost machine cannot be retired; everything else is complete.
        assert f"{lost.name} has left the cluster" in run.text
        assert f"{new[1].name}: is a voter" in run.text
    assert process_ids(stay) == before
    assert_serves_all_members([*stay, *new])
