"""A changed setting reaches the members one after another, and writers are not affected."""

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Machine
from tests.support.etcd import assert_serves_all_members, command_line, log_entries
from tests.support.machines import Machines
from tests.support.manual import assert_as_in_the_manual
from tests.support.prober import probed_up
from tests.support.stacks import Stacks


def started_at(machines: list[Machine]) -> dict[str, str]:
    """Member -> time when its etcd last became ready, by the clock that all machines share."""
    return {machine.name: log_entries(machine, "ready to serve client requests")[-1]["ts"] for machine in machines}


@contextlib.contextmanager
def watched_by_top(machine: Machine) -> Iterator[list[str]]:
    """What `etcd-node top` draws meanwhile in a terminal of the machine, until q is pressed: its frames, afterwards."""
    program = "import pty; raise SystemExit(pty.spawn(['etcd-node', 'top']))"
    keys = "until [ -e /run/top-ends ]; do sleep 0.2; done; printf q"
    script = f'({keys}) | COLUMNS=220 python3 -c "{program}" > /run/top-frames; echo $? > /run/top-code'
    machine.run(["systemd-run", "--unit=top", "sh", "-c", script], root=True)
    frames: list[str] = []
    yield frames
    # One more whole frame: the next one may have begun before the change ended.
    drawn = machine.run("grep -c 'q ends' /run/top-frames", root=True, check=False).stdout.strip()
    machine.run(f"until [ $(grep -c 'q ends' /run/top-frames) -ge $(({drawn} + 2)) ]; do sleep 0.2; done", root=True)
    machine.run("touch /run/top-ends; until [ -s /run/top-code ]; do sleep 0.2; done", root=True)
    assert machine.run("cat /run/top-code", root=True).stdout.strip() == "0"
    frames += machine.run("cat /run/top-frames", root=True).stdout.split("\x1b[H\x1b[J")[1:]


def elected_at(machines: list[Machine]) -> dict[int, str]:
    """Term -> time when the first member's log names its leader, by the same clock."""
    found: dict[int, str] = {}
    for machine in machines:
        for entry in log_entries(machine, "raft.node: .* (elected|changed) leader"):
            term, at = int(entry["msg"].rpartition("at term ")[2]), entry["ts"]
            found[term] = min(found.get(term, at), at)
    assert found
    return found


@pytest.mark.parametrize("count", [3, pytest.param(5, marks=pytest.mark.soak)])
def test_a_changed_setting_restarts_members_in_order_without_losses(
    machines: Machines, stacks: Stacks, tmp_path: Path, count: int
) -> None:
    found = machines.fresh(count)
    stack = stacks.new(found)
    stack.up()
    before = started_at(found)

    stack.config["flags"] = {"max-txn-ops": "256"}
    if count == 3:
        assert_as_in_the_manual(stack, "Change a setting")
    with watched_by_top(found[-1]) as frames:
        _, probe = probed_up(stack, found, tmp_path, f"A setting changed on {count} members")

    after = started_at(found)
    chain = [machine.name for machine in found]
    assert sorted(chain, key=after.__getitem__) == chain
    assert min(after.values()) > max(before.values())
    assert probe.downs == chain
    assert probe.report.most_down == 1
    began = elected_at(found)
    ends = [max(before.values()), *(after[name] for name in chain)]
    for start, end in itertools.pairwise(ends):
        assert len([term for term, at in began.items() if start < at <= end]) <= 1, (began, ends)
    assert not [term for term, at in began.items() if at > ends[-1]], "there are no elections after the change"
    assert_serves_all_members(found)
    for machine in found:
        assert "--max-txn-ops=256" in command_line(machine)
        assert any(re.search(rf"{machine.name} .* started \d+ s ago", frame) for frame in frames), frames[-1]
    assert any("an operator changes the cluster: " in frame for frame in frames), frames
    assert any(f"{count} of {count} voters have a leader" in frame for frame in frames), frames[-1]
