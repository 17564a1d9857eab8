"""A member that is partitioned, without power or without space stops a change; the next run completes it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Machine
from tests.support.etcd import OPTIONS, assert_serves_all_members, lead, process_ids
from tests.support.machines import Machines, busy
from tests.support.manual import manual
from tests.support.prober import GAP_SECONDS, probing
from tests.support.stacks import Run, Stack, Stacks
from tests.support.waiting import every

ELECTION_SECONDS = 5.0
"""Longest time without an acknowledgement if a leader dies without notice: it includes etcd's election timeout, 1 to
2 s."""


@pytest.fixture(scope="module")
def cluster(machines: Machines, stacks: Stacks) -> tuple[list[Machine], Stack]:
    """Three members with a small database quota; each test leaves it healthy."""
    found = machines.fresh(3)
    stack = stacks.new(found, quota="64MiB")
    stack.up()
    return found, stack


def _stopped_by(
    stack: Stack, found: list[Machine], flag: str, fault: Callable[[], object], mark: Callable[[str], None]
) -> Run:
    """Change a setting; the fault comes after the first member is complete and before the second begins."""
    stack.config["flags"] = {"max-txn-ops": flag}
    running = stack.begin_up()
    try:
        with busy(found[1]):
            running.until_said(f"{found[1].name}: waits up to")
            mark("fault")
            fault()
        return running.wait()
    finally:
        running.kill()


def _until_connected(one: Machine, other: Machine) -> None:
    """Wait until what two etcds sent to each other during a partition has arrived.

    Their connections outlast it, because etcd sets no limit for reads from a peer (its `NewTimeoutTransport` sets
    `Dial`, and Go prefers `DialContext`). TCP then sends again only after up to as long as the partition lasted.
    """
    filters = [(one, f"dst {other.address}"), (other, f"dst {one.address}")]
    for _ in every(0.2, seconds=120):
        unsent = [
            line
            for machine, where in filters
            for line in machine.run(f"ss -Htn state established {where}").stdout.splitlines()
            if ":2380" in line and line.split()[1] != "0"
        ]
        if not unsent:
            return
    pytest.fail(f"{one.name} and {other.name} have not sent what waits for each other: {unsent}")


def test_a_partitioned_member_stops_a_change_until_it_is_back(
    machines: Machines, cluster: tuple[list[Machine], Stack], tmp_path: Path
) -> None:
    found, stack = cluster
    lead(found, found[1])  # it keeps the leadership when the first restarts, so the partitioned one is not the leader
    before = process_ids(found)
    with probing(stack, found, tmp_path, "A member cut off") as probe:
        probe.mark("etcd-3 partitioned")
        machines.lab.isolate(found[2].name)
        stack.config["flags"] = {"max-txn-ops": "256"}
        run = stack.up(check=False)
        assert run.code != 0
        assert f"not all other members are healthy ({found[2].name}: the machine cannot be reached" in run.text
        assert process_ids(found) == before, "refused before the first restart"
        machines.lab.heal(found[2].name)

        probe.mark("healed, pulumi up")
        run = _stopped_by(stack, found, "256", lambda: machines.lab.isolate(found[2].name), probe.mark)
        assert run.code != 0
        assert f"{found[2].name}: the machine cannot be reached" in run.text
        now = process_ids(found)
        assert [now[m.name] != before[m.name] for m in found] == [True, False, False], (
            "the run stops at the second member"
        )
        machines.lab.heal(found[2].name)

        probe.mark("healed, pulumi up")
        stack.up()
    after = process_ids(found)
    assert after[found[0].name] == now[found[0].name], "the first member is not restarted again"
    assert all(after[machine.name] != before[machine.name] for machine in found)
    assert_serves_all_members(found)


def test_a_leader_does_not_restart_if_the_others_are_partitioned(
    cluster: tuple[list[Machine], Stack], tmp_path: Path
) -> None:
    found, stack = cluster
    other = found[2].address
    rules = f"""
        table inet cut {{
            chain input {{
                type filter hook input priority 0;
                ip saddr {other} tcp sport 2380 drop;
                ip saddr {other} tcp dport 2380 drop;
            }}
            chain output {{
                type filter hook output priority 0;
                ip daddr {other} tcp sport 2380 drop;
                ip daddr {other} tcp dport 2380 drop;
            }}
        }}
    """
    lead(found, found[0])
    before = process_ids(found)
    stack.config["flags"] = {"max-txn-ops": "300"}
    # While etcd-2 leads, etcd-3 has no leader, and requests to it wait as during an election.
    with probing(stack, found, tmp_path, "Two members cut off from each other", gap=ELECTION_SECONDS) as probe:
        probe.mark("etcd-2 and etcd-3 do not reach each other, pulumi up")
        found[1].run("nft -f -", input=rules, root=True)
        run = stack.up(check=False)
        assert run.code != 0
        assert f"with {found[1].name} as the leader, and {found[0].name} leads again: a restart is needed" in run.text
        assert f"not all other members are healthy ({found[2].name}: " in run.text
        assert process_ids(found) == before, "no member was restarted"
        assert_serves_all_members(found)

        found[1].run("nft delete table inet cut", root=True)
        _until_connected(found[1], found[2])
        probe.mark("healed, pulumi up")
        stack.up()
    after = process_ids(found)
    assert all(after[machine.name] != before[machine.name] for machine in found)
    assert_serves_all_members(found)


def test_a_full_database_refuses_changes_and_the_manuals_remedy_works(
    cluster: tuple[list[Machine], Stack], tmp_path: Path
) -> None:
    found, stack = cluster
    endpoint = f"etcdctl --endpoints=https://{found[1].address}:2379 {OPTIONS}"
    # The same key is written repeatedly, so that a compaction can free almost everything.
    put = f"head -c 786432 /dev/urandom | base64 -w0 | {endpoint} put full >/dev/null"
    full = f"for n in $(seq 200); do {put} 2>said; grep 'space exceeded' said && exit 0; done; exit 1"
    found[1].run(f"cd /tmp && {full}", root=True, timeout=240)
    before = process_ids(found)

    flags = stack.config.get("flags", {})
    stack.config["flags"] = {"max-txn-ops": "1024"}
    run = stack.up(check=False)

    assert run.code != 0
    assert re.search(r"alarm NOSPACE of etcd-\d", run.text), run.text
    for words in ("nothing was restarted", "etcd-node recover-space"):
        assert words in run.text
    assert process_ids(found) == before

    stack.config |= {"flags": flags, "quota": "96MiB"}
    run = stack.up(check=False)
    assert all(process_ids(found)[machine.name] != before[machine.name] for machine in found)
    assert run.code != 0
    assert "is not healthy" in run.text, "all have the quota, and the alarm stays until it is disarmed"
    assert "etcd-node recover-space" in run.text

    before = process_ids(found)
    stack.config["flags"] = {"max-txn-ops": "1024"}
    found[0].run(manual("The database is full (alarm NOSPACE)", found), root=True)
    with probing(stack, found, tmp_path, "After a full database"):
        stack.up()
    after = process_ids(found)
    assert all(after[machine.name] != before[machine.name] for machine in found)
    assert_serves_all_members(found)


@pytest.mark.parametrize(
    ("timers", "gap"),
    [({}, ELECTION_SECONDS), ({"heartbeatIntervalMs": 50, "electionTimeoutMs": 300}, GAP_SECONDS)],
    ids=["etcd's own timers", "a short election"],
)
def test_a_leaders_power_cut_stops_a_change_without_lost_writes(
    machines: Machines, cluster: tuple[list[Machine], Stack], tmp_path: Path, timers: dict[str, int], gap: float
) -> None:
    found, stack = cluster
    for key, milliseconds in timers.items():  # the shorter heartbeat before the shorter timeout, in separate updates
        stack.config[key] = milliseconds
        stack.up()
    lead(found, found[2])
    before = process_ids(found)
    title = f"Leader's power cut in a change{', short election' if timers else ''}"
    with probing(stack, found, tmp_path, title, gap=gap) as probe:
        flag = str(512 + len(timers))
        run = _stopped_by(stack, found, flag, lambda: machines.lab.kill(found[2].name), probe.mark)
        assert run.code != 0
        assert f"{found[2].name}: " in run.text
        assert process_ids(found[1:2]) == {found[1].name: before[found[1].name]}, "the run stops at the second member"
        machines.lab.start(found[2].name)
        done = process_ids(found[:1])
        probe.mark("power is back, pulumi up")
        stack.up()
    assert process_ids(found[:1]) == done, "the first member is not restarted again"
    assert_serves_all_members(found)
