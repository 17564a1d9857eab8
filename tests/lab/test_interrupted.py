"""Ctrl-C during a member's step of `pulumi up`: that step completes, and no other one begins."""

import itertools
from pathlib import Path

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, command_line, lead, process_ids
from tests.support.prober import probing
from tests.support.stacks import Background, Stack


def _in_the_restart_of(stack: Stack, member: Machine) -> Background:
    """A `pulumi up` that has just begun to restart a member."""
    running = stack.begin_up()
    try:
        running.until_said(f"{member.name}: restarts for --max-txn-ops")
    except BaseException:
        running.kill()
        raise
    return running


def _restarted(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [member for member in before if before[member] != after[member]]


def test_ctrl_c_completes_the_current_member_and_the_next_up_resumes(
    bootstrapped: Bootstrapped, tmp_path: Path
) -> None:
    found, stack = bootstrapped()
    outputs, seen = stack.outputs(), [process_ids(found)]
    stack.config["flags"] = {"max-txn-ops": "256"}
    with probing(stack, found, tmp_path, "Interrupted twice") as probe:
        for member in found[:2]:  # the first run ends in the first member's step, the second in the second's
            running = _in_the_restart_of(stack, member)
            try:
                probe.mark(f"Ctrl-C while {member.name} restarts")
                running.interrupt()
                ended = running.wait(60)
            finally:
                running.kill()
            seen.append(process_ids(found))
            assert ended.code == 1
            assert "^C received; cancelling" in ended.text
            # Further output of the step is not shown, but the machine and the state have its result.
            assert "--max-txn-ops=256" in command_line(member)
            assert not member.run("pgrep -f '[e]tcd-node converge'", root=True, check=False).stdout
            assert "error: update canceled" in ended.text
            assert not stack.export()["deployment"].get("pending_operations")
            assert stack.outputs() == outputs
            assert_serves_all_members(found)
        last = stack.up()
        probe.mark("done")
    seen.append(process_ids(found))
    assert "pending" not in last.text
    assert [_restarted(*pair) for pair in itertools.pairwise(seen)] == [[machine.name] for machine in found]
    assert_serves_all_members(found)
    stack.up("--expect-no-changes")


def test_after_a_second_ctrl_c_waiting_commands_do_nothing(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    found, stack = bootstrapped()
    before = process_ids(found)
    hang = "kill -{} $(systemctl show etcd -p MainPID --value)"
    lead(found, found[0])  # so that the hanging member is not the leader
    stack.config["flags"] = {"max-txn-ops": "256"}
    with probing(stack, found[:2], tmp_path, "A second Ctrl-C"):
        found[2].run(hang.format("STOP"), root=True)
        running = stack.begin_up()
        try:
            running.until_said(f"{found[0].name}: waits for the other members to be healthy")
            running.interrupt()
            running.until_said("^C received; cancelling")
            running.interrupt()
            ended = running.wait(60)
        finally:
            running.kill()
            found[2].run(hang.format("CONT"), root=True)
        assert ended.code not in (0, 1)
        (pending,) = stack.export()["deployment"]["pending_operations"]
        assert pending["resource"]["urn"].endswith("::test-etcd-1-converge")
        found[0].run("while pgrep -f '[e]tcd-node --answer converge'; do sleep 0.2; done", root=True, timeout=90)
        assert process_ids(found) == before

        # The state is not locked, so no `pulumi cancel` is needed.
        last = stack.up()
    assert "test-etcd-1-converge, interrupted while updating" in last.text
    assert not stack.export()["deployment"].get("pending_operations")
    assert _restarted(before, process_ids(found)) == [machine.name for machine in found]
    assert_serves_all_members(found)
    stack.up("--expect-no-changes")
