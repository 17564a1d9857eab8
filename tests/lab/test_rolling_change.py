"""A changed setting reaches the members one after another, and writers are not affected."""

import itertools
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
