"""A change that is interrupted while the new member is a learner is completed by the next `pulumi up`."""

from pathlib import Path

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, command_line, member_list, process_ids
from tests.support.prober import probing
from tests.support.stacks import Stack, machine_config
from tests.support.waiting import every

_CONVERGE = "^/usr/bin/python3 -I /usr/local/lib/etcd-node/[^ ]* --answer converge"


def _cut_off(stack: Stack, stay: Machine, new: Machine) -> None:
    """Begin `pulumi up`, and kill its command on the new member's machine once its etcd has a log."""
    running = stack.begin_up()
    try:
        new.run(
            # Before its promotion, even on a busy computer.
            "renice -n -20 $$ >/dev/null; "
            f"until test -d /var/lib/etcd/member/wal; do sleep 0.01; done; pkill -KILL -f '{_CONVERGE}'",
            root=True,
            timeout=120,
        )
        assert running.wait().code != 0
    finally:
        running.kill()
    # A learner has its name only once it has started.
    assert any(_learners(stay) == [new.name] for _ in every(0.1, seconds=10)), _learners(stay)


def _learners(stay: Machine) -> list[str]:
    return [row.get("name", "") for row in member_list(stay) if row.get("isLearner")]


def test_a_stopped_or_outdated_learner_becomes_a_voter(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    found, stack = bootstrapped(5)
    stay, fourth, fifth = found[:3], found[3], found[4]
    before = process_ids(stay)
    with probing(stack, stay, tmp_path, "A growth cut off") as probe:
        stack.config["machines"] = [machine_config(machine) for machine in found]
        probe.mark("pulumi up, 3 to 5")
        _cut_off(stack, stay[0], fourth)
        fourth.run("systemctl stop etcd", root=True)
        probe.mark("interrupted, etcd-4 stopped, pulumi up")
        _cut_off(stack, stay[0], fifth)
        assert process_ids(stay) == before

        stack.config["flags"] = {"max-txn-ops": "256"}
        probe.mark("interrupted, a setting changes, pulumi up")
        run = stack.up()
        probe.mark("done")
    assert f"{fifth.name}: restarts for --max-txn-ops" in run.text
    assert f"{fifth.name}: is a voter" in run.text
    assert all("--max-txn-ops=256" in command_line(machine) for machine in found)
    assert_serves_all_members(found)


def test_an_abandoned_learner_gives_way_and_joins_later_if_desired(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    """Etcd allows one learner at a time, and the other machine's turn comes first."""
    found, stack = bootstrapped(5)
    first, second, third, fourth, fifth = found
    before = process_ids([first, third])
    with probing(stack, [first, third], tmp_path, "A learner left behind") as probe:
        stack.config["machines"] = [machine_config(machine) for machine in (first, fourth, third)]
        probe.mark("pulumi up, etcd-4 for etcd-2")
        _cut_off(stack, first, fourth)
        stack.config["machines"] = [machine_config(machine) for machine in (first, fifth, third)]
        probe.mark("interrupted; etcd-5 instead, pulumi up")
        assert f"{fifth.name}: removed the learner {fourth.name}" in stack.up().text
        assert_serves_all_members([first, fifth, third])

        stack.config["machines"] = [machine_config(machine) for machine in (first, fifth, third, second, fourth)]
        probe.mark("pulumi up, 3 to 5")
        _cut_off(stack, first, second)
        stack.config["machines"] = [machine_config(machine) for machine in (first, fifth, third, fourth, second)]
        probe.mark("interrupted; in another order, pulumi up")
        run = stack.up()
        probe.mark("done")
    assert f"{fourth.name}: removed the learner {second.name}" in run.text
    assert f"{second.name}: is a voter" in run.text
    assert process_ids([first, third]) == before
    assert_serves_all_members(found)
    stack.up("--expect-no-changes")
