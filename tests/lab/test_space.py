"""Room in the database: members are defragmented one at a time, and a full database gets room again, under load."""

import itertools
import json
import threading
from collections.abc import Sequence
from pathlib import Path

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import OPTIONS, assert_serves_all_members, etcdctl, lead, process_ids
from tests.support.prober import probing
from tests.support.waiting import every

QUOTA = 32 << 20
MAINTAIN = "systemctl start etcd-maintenance.service"
FULL_SECONDS = 60.0
"""A full database accepts no write until it has been recovered."""


def fill_up(machine: Machine, times: int, until: str = "") -> None:
    """Write a MiB to one key again and again, so that a compaction frees almost everything. The file takes twice that.

    Args:
        until: etcd's error that must come; empty: all writes must succeed.
    """
    put = f"etcdctl --endpoints=https://{machine.address}:2379 {OPTIONS} put full <value >/dev/null"
    ends = f"{put} 2>said || {{ grep '{until}' said && exit 0; exit 1; }}" if until else f"{put} || exit 1"
    made = "head -c 786432 /dev/urandom | base64 -w0 >value"
    script = f"cd /tmp; {made}; for n in $(seq {times}); do {ends}; done; exit {1 if until else 0}"
    machine.run(script, root=True, timeout=240)


def _sizes(found: Sequence[Machine]) -> list[int]:
    endpoints = ",".join(f"https://{machine.address}:2379" for machine in found)
    rows = json.loads(etcdctl(found[0], "endpoint", "status", "--write-out=json", endpoint=endpoints))
    return [row["Status"]["dbSize"] for row in rows]


def defragmentations(found: Sequence[Machine]) -> list[tuple[int, int, str]]:
    """(begin, end, member) of every defragmentation, in order; microseconds of the clock that all machines share."""
    turns = []
    for machine in found:
        read = "journalctl -u etcd.service --grep='(starting|finished) defragment.[,}]' -o json --no-pager"
        lines = machine.run(read, root=True, check=False).stdout.splitlines()
        at = [int(json.loads(line)["__MONOTONIC_TIMESTAMP"]) for line in lines]
        turns += [(begin, end, machine.name) for begin, end in zip(at[::2], at[1::2], strict=True)]
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(sorted(turns))), f"two at once: {turns}"
    return sorted(turns)


def _together(found: Sequence[Machine], command: str) -> None:
    """Run it on all of these machines at once."""
    threads = [threading.Thread(target=machine.run, args=(command,), kwargs={"root": True}) for machine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_members_are_defragmented_and_a_full_database_is_recovered(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    found, stack = bootstrapped()
    stack.config |= {
        "quota": f"{QUOTA}",
        "maintenance": {"defragment": True, "recoverSpace": True, "quotaPercent": 30},
    }
    running = stack.begin_up()
    try:
        running.until_said(f"{found[0].name}: restarts for")
        refused = found[2].run("etcd-node defragment --now", root=True, check=False)
        assert refused.returncode == 1
        assert "an operator is changing this cluster" in refused.stderr
        assert running.wait().code == 0
    finally:
        running.kill()
    assert defragmentations(found) == []
    before = process_ids(found)

    with probing(stack, found, tmp_path, "Three members are defragmented") as probe:
        lead(found, found[0])
        fill_up(found[0], 12)
        revision = json.loads(etcdctl(found[0], "get", "full", "--write-out=json"))["header"]["revision"]
        probe.mark("compact")
        etcdctl(found[0], "compact", str(revision))
        hint = "in use: `etcd-node defragment` there"
        status = "etcd-node status"
        # Free pages are counted when the next writes are committed.
        assert any(found[1].run(status, root=True).stdout.count(hint) == len(found) for _ in every(0.5, seconds=30))
        probe.mark("all look at once")
        _together(found, MAINTAIN)
        probe.mark("the leader again")
        found[0].run(MAINTAIN, root=True)
    turns = [name for _, _, name in defragmentations(found)]
    assert sorted(turns[:2]) == [found[1].name, found[2].name]
    assert turns[2:] == [found[0].name], "the leader is last"
    said = found[0].run("journalctl -u etcd-maintenance.service -o cat --no-pager", root=True).stdout
    assert said.index("handed leadership to") < said.index(" MiB -> ")
    assert max(_sizes(found)) < QUOTA // 4

    # A stopped member is waited for while the database fills up.
    found[2].run("systemctl stop etcd", root=True)
    refusals: list[str] = []

    def refuse() -> None:
        done = found[0].run("etcd-node defragment --now", root=True, check=False)
        refusals.append(f"{done.returncode} {done.stderr}")

    with probing(stack, found, tmp_path, "A full database", gap=FULL_SECONDS) as probe:
        refused_meanwhile = threading.Thread(target=refuse)
        refused_meanwhile.start()
        fill_up(found[1], 10)
        refused_meanwhile.join()
        assert refusals[0].startswith("1 ")
        assert f"etcd-1 would be defragmented, but not all members are healthy ({found[2].name}: " in refusals[0]
        found[2].run("systemctl start etcd", root=True)
        # The timer of the machine that would recover by itself.
        found[0].run("systemctl stop etcd-maintenance.timer", root=True)
        for machine, command in ((found[1], "etcd-node recover-space"), (found[0], MAINTAIN)):
            fill_up(machine, 60, until="space exceeded")
            assert "run `etcd-node recover-space`" in machine.run("etcd-node status", root=True).stdout
            probe.mark(command)
            machine.run(command, root=True, timeout=120)
            assert etcdctl(machine, "alarm", "list") == ""
            assert max(_sizes(found)) < QUOTA // 4
        again = found[2].run("etcd-node recover-space", root=True).stderr
        assert "there is no alarm: nothing to recover from" in again
    assert len(defragmentations(found)) == 9
    after = process_ids(found)
    assert [after[machine.name] == before[machine.name] for machine in found] == [True, True, False], (
        "nothing restarted"
    )
    assert_serves_all_members(found)

    left = "find /etc/systemd/system -name 'etcd-maintenance*'"
    assert len(found[2].run(left, root=True).stdout.splitlines()) == 3
    found[2].run("etcd-node retire test", root=True)
    assert found[2].run(left, root=True).stdout == ""
