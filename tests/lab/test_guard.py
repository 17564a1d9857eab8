"""The guard at preview: a refused change touches nothing, and machines do what it announces."""

import re
from datetime import UTC, datetime
from pathlib import Path

from components.status.clusters import find
from lab import Machine
from tests.support.etcd import OPTIONS, assert_serves_all_members, member_list, process_ids
from tests.support.machines import Machines
from tests.support.manual import assert_as_in_the_manual, manual
from tests.support.prober import probed_up
from tests.support.stacks import Run, Stack, Stacks, machine_config, override_in


def test_a_refused_change_touches_nothing_and_announcements_are_true(
    machines: Machines, stacks: Stacks, tmp_path: Path
) -> None:
    found = machines.fresh(4)
    stack = stacks.new(found[:3], version="3.5.35")
    first = stack.up()
    assert "bootstrap a new cluster of etcd-1, etcd-2, etcd-3" in first.text
    assert stack.outputs()["applied"]["serial"] == 1
    assert "voters" not in stack.up("--expect-no-changes").text, "without a change there is no announcement"

    _skip_a_minor(stack, found[:3])
    _upgrade(stack)
    _replace_by_another_name(stack, found, tmp_path)
    _override_once(stack, [found[0], found[3], found[2]])


def test_a_quota_below_the_database_is_refused_with_a_working_remedy(machines: Machines, stacks: Stacks) -> None:
    found = machines.fresh(1)
    stack = stacks.new(found, quota="64MiB")
    begun = datetime.now(UTC).replace(microsecond=0)
    stack.up()
    outputs = stack.outputs()
    small = outputs["applied"]["database_bytes"]
    # What `external-etcd status` shows.
    (shown,) = find(outputs)
    assert shown.checked is not None and begun <= shown.checked <= datetime.now(UTC)
    assert set(shown.certificates) == set(outputs["certificates"])
    put = f"etcdctl --endpoints=https://{found[0].address}:2379 {OPTIONS} put full >/dev/null"
    found[0].run(f"for n in $(seq 40); do head -c 786432 /dev/urandom | base64 -w0 | {put}; done", root=True)
    stack.up("--expect-no-changes")
    assert stack.outputs()["applied"]["database_bytes"] == small, "an update without a change checks nothing"

    stack.config["quota"] = "32MiB"
    before = process_ids(found)
    run = stack.up(check=False)
    assert run.code != 0, "the preview knows the size of the last health check, the machine that of now"
    assert re.search(rf"lowered to {32 << 20} bytes, and the database of etcd-1 has \d+: etcd would reject", run.text)
    assert process_ids(found) == before
    assert_serves_all_members(found)

    stack.config["quota"] = "64MiB"
    stack.up("--replace", "**-health")
    stack.config["quota"] = "32MiB"
    run = stack.preview(check=False)
    _assert_refused(run, "at the last health check; with a lower quota, etcd rejects all writes")
    assert "pulumi up --replace '**-health' with the quota as it was" in run.text

    found[0].run(manual("Free space in the database (defragmentation)", found), root=True)
    stack.config["quota"] = "64MiB"
    stack.up("--replace", "**-health")
    stack.config["quota"] = "32MiB"
    stack.up()
    assert_serves_all_members(found)


def _skip_a_minor(stack: Stack, found: list[Machine]) -> None:
    before, outputs = process_ids(found), stack.outputs()
    stack.config["version"] = "3.7.3"
    assert_as_in_the_manual(stack, "What the preview shows")
    for run in (stack.preview(check=False), stack.up(check=False)):
        _assert_refused(
            run, "etcd can be upgraded by only one minor version at a time; the last update installed 3.5.35"
        )
        assert "1. version: 3.6.16\n" in run.text
        assert "2. version: 3.7.3\n" in run.text
    assert process_ids(found) == before
    assert stack.outputs() == outputs, "a refused update keeps the outputs of the last one"
    assert all(machine.run("ls /opt/etcd").stdout.split() == ["v3.5.35"] for machine in found)


def _upgrade(stack: Stack) -> None:
    stack.config["version"] = "3.6.16"
    assert_as_in_the_manual(stack, "What the preview shows")
    announced = _announced(stack.preview())
    assert len(announced) == 6, announced
    run = stack.up()
    assert _announced(run) == announced
    order = [run.text.index(f"etcd-{number}: is back") for number in (1, 2, 3)]
    assert order == sorted(order)
    assert stack.outputs()["applied"]["version"] == "3.6.16"
    stack.up("--expect-no-changes")


def _replace_by_another_name(stack: Stack, found: list[Machine], scratch: Path) -> None:
    """etcd-4 replaces etcd-2 in one edit: it joins before etcd-2 leaves."""
    names = [found[0], found[3], found[2]]
    stack.config["machines"] = [machine_config(machine) for machine in names]
    running = process_ids([found[0], found[2]])
    accepted = stack.config.pop("acknowledge")
    assert_as_in_the_manual(stack, "Replace a member with one of another name")
    stack.config["acknowledge"] = accepted
    print("\n".join(announced := _announced(stack.preview())))
    said = [text for text in announced if "etcd-4 is promoted to voter" in text or "etcd-2 is removed" in text]
    assert "[4 voters, tolerates 1 failure]" in said[0]
    assert "[3 voters, tolerates 1 failure]" in said[1]
    run, probe = probed_up(stack, [found[0], found[2]], scratch, "A member replaced by another name")
    assert run.text.index("etcd-4: is a voter") < run.text.index("etcd-2 has left the cluster")
    assert process_ids([found[0], found[2]]) == running
    assert probe.downs == []
    assert_serves_all_members(names)
    assert found[1].run("systemctl is-active etcd", check=False).stdout.strip() == "inactive"
    assert list(stack.outputs()["applied"]["order"]) == ["etcd-1", "etcd-4", "etcd-3"]
    stack.up("--expect-no-changes")


def _override_once(stack: Stack, found: list[Machine]) -> None:
    """Members and version in one update: refused, done once with the override, which is void afterwards."""
    stack.config |= {"machines": [machine_config(found[0])], "version": "3.7.3"}
    refused = stack.preview(check=False)
    _assert_refused(refused, "One update can change the version or the members, not both")
    stack.config["override"] = "allow-000000000000"
    _assert_refused(stack.preview(check=False), "which was for another change")

    stack.config["override"] = override_in(refused)
    run = stack.up()
    assert "Overridden once" in run.text
    assert [row["name"] for row in member_list(found[0])] == ["etcd-1"]
    assert "not both" in stack.outputs()["applied"]["overridden"][0]

    again = stack.up("--expect-no-changes")
    assert "There is nothing to override" in again.text
    stack.config["machines"] = [machine_config(machine) for machine in found]
    stack.config["version"] = "3.6.16"
    _assert_refused(stack.preview(check=False), "which was for another change")


def _assert_refused(run: Run, says: str) -> None:
    assert run.code != 0
    assert says in run.text
    assert "nothing was touched" in run.text
    assert "Traceback" not in run.text
    assert "to create" not in run.text


def _announced(run: Run) -> list[str]:
    """The steps that the guard printed, once each."""
    diagnostics = run.text.partition("Diagnostics:")[2].partition("Resources:")[0]
    return [line.strip() for line in diagnostics.splitlines() if "voter" in line and line.strip()[:1].isdigit()]
