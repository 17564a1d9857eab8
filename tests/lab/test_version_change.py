"""Version changes: one minor after another, one member after another."""

import itertools
from pathlib import Path

from lab import Machine
from tests.support.etcd import assert_no_drift, assert_serves_all_members, etcdctl, process_ids, running_versions
from tests.support.machines import Machines, as_they_are
from tests.support.manual import assert_as_in_the_manual
from tests.support.prober import probed_up, probing
from tests.support.stacks import Stack, Stacks


def test_versions_change_by_one_minor_only(machines: Machines, stacks: Stacks, tmp_path: Path) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found, version="3.5.35")
    stack.up()
    assert running_versions(found) == ["3.5.35"] * 3

    _refused(stack, found, tmp_path, "3.7.3", "skip a minor version")
    now = "3.5.35"
    for version in ("3.6.16", "3.7.3", "3.6.16"):
        before = process_ids(found)
        # Somebody deletes every key, also those of the program.
        assert int(etcdctl(found[0], "del", "", "--prefix")) >= len(found)
        stack.config["version"] = version
        if version == "3.7.3":
            assert_as_in_the_manual(stack, "Change the version")
        back = now > version
        title = f"{'Downgrade' if back else 'Upgrade'} to {version}"
        run, probe = probed_up(stack, found, tmp_path, title)
        assert ("restarts for a snapshot first" in run.text) == (version == "3.7.3")
        assert ("enabled the downgrade of the cluster to 3.6" in run.text) == back
        assert running_versions(found) == [version] * 3
        assert all(after != before[name] for name, after in process_ids(found).items())
        # Before 3.7 a member restarts twice, the first time to write a snapshot.
        assert [name for name, _ in itertools.groupby(probe.downs)] == [machine.name for machine in found]
        assert probe.report.most_down == 1
        assert probe.report.leader_moves <= 3
        assert_serves_all_members(found)
        assert_no_drift(found)
        _assert_one_snapshot(found, now, version)
        now = version
        if now == "3.7.3":
            _refused(stack, found, tmp_path, "3.5.35", "goes back to 3.6 and no further")


def _assert_one_snapshot(found: list[Machine], before: str, after: str) -> None:
    """The change left one verified snapshot, on the first machine, readable by root only, and restorable."""
    place = "/var/lib/etcd.snapshots"
    for machine in found[1:]:
        assert machine.run(f"test -e {place}", check=False).returncode == 1
    assert found[0].run(f"ls {place}", check=False).returncode != 0
    name = found[0].run(f"cd {place} && ls *-{before}-to-{after}-*.db", root=True).stdout.strip()
    assert found[0].run(f"stat -c %U:%a {place} {place}/{name}", root=True).stdout.split() == ["root:700", "root:600"]
    restore = f"/opt/etcd/v{before}/etcdutl snapshot restore {place}/{name} --data-dir restored"
    found[0].run(f"cd $(mktemp -d) && {restore} && rm -r restored", root=True)


def _refused(stack: Stack, found: list[Machine], scratch: Path, version: str, says: str) -> None:
    """The version is refused at preview, and with an override by the machines; nothing changes on any of them."""
    before = as_they_are(found)
    stack.config["version"] = version
    stack.past_the_guard()
    with probing(stack, found, scratch, f"{version} refused"):
        run = stack.up(check=False)
    del stack.config["override"]
    assert run.code != 0
    assert says in run.text
    assert "nothing was changed" in run.text
    assert as_they_are(found) == before
