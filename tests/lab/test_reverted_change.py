"""A run is killed during a member's change, and then the configuration is reverted."""

from pathlib import Path

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, command_line, lead, process_ids
from tests.support.machines import Machines, busy
from tests.support.prober import probing
from tests.support.stacks import Stack, Stacks, machine_config
from tests.support.waiting import every


def killed_at(stack: Stack, words: str, member: str = "etcd-1") -> None:
    """Begin `pulumi up`, and SIGKILL it once it has printed `words`, during this member's change."""
    running = stack.begin_up()
    try:
        running.until_said(words)
    finally:
        running.kill()
    pending = stack.export()["deployment"].get("pending_operations", [])
    assert f"test-{member}-converge" in [operation["resource"]["urn"].rsplit("::", 1)[1] for operation in pending]


def killed_when_it_votes(stack: Stack, member: str, following: Machine) -> None:
    """SIGKILL `pulumi up` once this member votes and no other machine has been told.

    Args:
        following: the machine whose member has the next turn.
    """
    running = stack.begin_up()
    try:
        running.until_said(f"{member}: joined as a learner")
        with busy(following):
            running.until_said(f"{member}: is a voter")
            running.kill()
    finally:
        running.kill()


def killed_in_retirement(stack: Stack, machine: Machine) -> None:
    """Ends `pulumi up` with SIGKILL in the middle of this machine's retirement, which then runs to its end."""
    retire = "'^/usr/bin/python3 -I /usr/local/lib/etcd-node/[^ ]* --answer retire'"
    running = stack.begin_up()
    try:
        stop = (
            "renice -n -20 $$ >/dev/null; until test ! -e /etc/etcd/pki; do sleep 0.01; done; "
            f"pkill -STOP -f {retire} || true"
        )
        machine.run(["sudo", "-n", "sh", "-c", stop], timeout=120)
    finally:
        running.kill()
    go_on = f"pkill -CONT -f {retire}; while pgrep -f {retire}; do sleep 0.1; done"
    machine.run(["sudo", "-n", "sh", "-c", go_on], timeout=60)
    gone = "test ! -e /usr/local/sbin/etcd-node"
    assert any(machine.run(gone, check=False).returncode == 0 for _ in every(0.2, seconds=10))


def test_a_killed_runs_setting_can_be_reverted(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    found, stack = bootstrapped()
    before = process_ids(found)
    with probing(stack, found, tmp_path, "A killed change set back") as probe:
        stack.config["flags"] = {"max-txn-ops": "256"}
        probe.mark("pulumi up")
        killed_at(stack, "etcd-1: restarts for --max-txn-ops")
        # The command on the machine completes, but the state does not record it.
        assert any("--max-txn-ops" in command_line(found[0]) for _ in every(0.2, seconds=20))
        del stack.config["flags"]
        probe.mark("killed; set back, pulumi up")
        stack.up()
    assert all("--max-txn-ops" not in command_line(machine) for machine in found)
    after = process_ids(found)
    assert [after[machine.name] != before[machine.name] for machine in found] == [True, False, False]
    assert_serves_all_members(found)
    again = stack.preview()
    assert "to update" not in again.text and "to replace" not in again.text, again.text


def test_members_that_a_killed_run_removed_can_return_even_from_a_retirement(
    machines: Machines, stacks: Stacks, tmp_path: Path
) -> None:
    """Pulumi still counts the machine of a killed retirement as prepared, but its program is gone."""
    found = machines.fresh(5)
    stack = stacks.new(found)
    stack.up()
    before = process_ids(found[:3])
    with probing(stack, found[:3], tmp_path, "A killed shrinking set back") as probe:
        stack.config["machines"] = [machine_config(machine) for machine in found[:3]]
        probe.mark("pulumi up, 5 to 3")
        killed_at(stack, "has left the cluster")
        stack.config["machines"] = [machine_config(machine) for machine in found]
        probe.mark("killed; set back, pulumi up")
        stack.up()
        assert_serves_all_members(found)

        stack.config["machines"] = [machine_config(machine) for machine in found[:3]]
        probe.mark("pulumi up, 5 to 3")
        killed_in_retirement(stack, found[4])
        stack.config["machines"] = [machine_config(machine) for machine in found]
        probe.mark("killed in a retirement; set back, pulumi up")
        stack.up()
    assert process_ids(found[:3]) == before
    assert_serves_all_members(found)


def test_a_killed_member_replacement_can_be_reverted_or_changed(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    """The new member joins before any other machine is told."""
    found, stack = bootstrapped(5)
    before = process_ids([found[0], found[2]])

    def exchange(new: Machine) -> list[Machine]:
        members = [found[0], new, found[2]]
        stack.config["machines"] = [machine_config(machine) for machine in members]
        return members

    with probing(stack, [found[0], found[2]], tmp_path, "A killed exchange of members") as probe:
        exchange(found[3])
        probe.mark("pulumi up, etcd-4 for etcd-2")
        killed_when_it_votes(stack, "etcd-4", found[0])
        exchange(found[1])
        probe.mark("killed; set back, pulumi up")
        assert "etcd-4 has left the cluster" in stack.up().text
        assert_serves_all_members(found[:3])
        assert found[3].run("systemctl is-active etcd", check=False).stdout.strip() == "inactive"

        exchange(found[3])
        probe.mark("pulumi up, etcd-4 for etcd-2")
        killed_at(stack, "etcd-4: joined as a learner", "etcd-4")
        members = exchange(found[4])
        probe.mark("killed; etcd-5 instead, pulumi up")
        stack.up()
    assert process_ids([found[0], found[2]]) == before
    assert_serves_all_members(members)
    stack.up("--expect-no-changes")


def test_a_replacement_killed_late_can_be_reverted_or_completed(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    found, stack = bootstrapped(4)
    first, second, third, fourth = found
    before = process_ids([first, third])
    members = [first, fourth, third]
    with probing(stack, [first, third], tmp_path, "An exchange of members killed late") as probe:
        stack.config["machines"] = [machine_config(machine) for machine in members]
        probe.mark("pulumi up, etcd-4 for etcd-2")
        killed_at(stack, "etcd-2 has left the cluster")
        stack.config["machines"] = [machine_config(machine) for machine in (first, second, third)]
        probe.mark("killed; set back, pulumi up")
        assert "etcd-4 has left the cluster" in stack.up().text
        assert_serves_all_members([first, second, third])
        assert process_ids([first, third]) == before

        # Etcd-4 must restart for the setting, and must know etcd-2, which is leaving.
        stack.config["machines"] = [machine_config(machine) for machine in members]
        probe.mark("pulumi up, etcd-4 for etcd-2")
        killed_when_it_votes(stack, "etcd-4", found[0])
        stack.config["flags"] = {"max-txn-ops": "256"}
        probe.mark("killed; with a setting, pulumi up")
        stack.up()
    assert all("--max-txn-ops=256" in command_line(machine) for machine in members)
    assert_serves_all_members(members)
    stack.up("--expect-no-changes")


def test_a_killed_rejoin_is_completed_after_a_reverted_edit(
    machines: Machines, bootstrapped: Bootstrapped, tmp_path: Path
) -> None:
    found, stack = bootstrapped()
    before = process_ids(found[:2])
    lead(found, found[0])
    with probing(stack, found[:2], tmp_path, "A killed return set back") as probe:
        machines.lab.kill("etcd-3")
        machines.lab.wipe("etcd-3")
        stack.config["machines"][2]["identity"] = "new"
        probe.mark("etcd-3 is wiped, pulumi up")
        killed_at(stack, "etcd-3: removed its stale entry", "etcd-3")
        del stack.config["machines"][2]["identity"]
        probe.mark("killed; set back, pulumi up")
        stack.up()
    assert process_ids(found[:2]) == before
    assert_serves_all_members(found)
    stack.up("--expect-no-changes")
