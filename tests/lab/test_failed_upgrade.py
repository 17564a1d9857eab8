"""During an upgrade: a member that does not start, a changed member list, a lost machine."""

import textwrap
from pathlib import Path

import pytest

from lab import Machine
from tests.support.etcd import assert_serves_all_members, lead, process_ids, running_versions
from tests.support.machines import Machines
from tests.support.prober import probing
from tests.support.stacks import Stack, Stacks


@pytest.fixture(scope="module")
def cluster(machines: Machines, stacks: Stacks) -> tuple[list[Machine], Stack]:
    """Three members that were bootstrapped with etcd 3.5; each test leaves them healthy."""
    found = machines.fresh(3)
    stack = stacks.new(found, version="3.5.35")
    stack.up()
    return found, stack


def _break_release(machine: Machine, version: str) -> None:
    """Install a release whose etcd exits at once, as if the mirror had served it."""
    script = textwrap.dedent(
        f"""
        import hashlib, io, json, os, pathlib, tarfile, urllib.request
        name = "etcd-v{version}-linux-amd64"
        archive = urllib.request.urlopen("http://releases.lab/v{version}/" + name + ".tar.gz", timeout=20).read()
        place = pathlib.Path("/opt/etcd/v{version}")
        place.mkdir()
        programs = {{}}
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for program in ("etcd", "etcdctl", "etcdutl"):
                content = tar.extractfile(name + "/" + program).read()
                if program == "etcd":
                    # It says its version, so that nothing is found before it starts as a member.
                    content = b"#!/bin/sh\\n[ $1 = --version ] && exit 0\\n"
                    content += b"echo 'error loading shared libraries' >&2\\nexit 127\\n"
                (place / program).write_bytes(content)
                (place / program).chmod(0o755)
                programs[program] = {{"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        manifest = {{"url": "", "archive_sha256": "0" * 64, "programs": programs, "boot": boot}}
        (place / "release.json").write_text(json.dumps(manifest))
        """
    )
    machine.run("python3 -", root=True, input=script, timeout=60)


def test_a_failed_upgrade_is_rolled_back_on_its_member_and_resumed(
    machines: Machines, cluster: tuple[list[Machine], Stack], tmp_path: Path
) -> None:
    found, stack = cluster
    third = process_ids(found)["etcd-3"]
    _break_release(found[1], "3.6.16")
    stack.config["version"] = "3.6.16"
    with probing(stack, found, tmp_path, "An upgrade that fails in the middle") as probe:
        probe.mark("pulumi up, etcd-2 has a broken etcd")
        failed = stack.up(check=False)
        print(f"failed after {failed.seconds:.1f} s")
        assert failed.code != 0
        assert "etcd-2: etcd 3.6.16 did not start, and this member runs with etcd 3.5.35 again" in failed.text
        assert "error loading shared libraries" in failed.text
        assert running_versions(found) == ["3.6.16", "3.5.35", "3.5.35"]
        assert process_ids(found)["etcd-3"] == third
        assert_serves_all_members(found)

        all_three = stack.config["machines"]
        stack.config["machines"] = all_three[:1]
        stack.past_the_guard()
        refused = stack.up(check=False)
        del stack.config["override"]
        assert refused.code != 0
        assert "members are not changed in the middle of a change of version" in refused.text
        assert_serves_all_members(found)

        # A machine that is lost now blocks all others; a run for it alone brings it back.
        lead(found, found[0])
        probe.mark("etcd-3 is wiped")
        machines.lab.kill("etcd-3")
        machines.lab.wipe("etcd-3")
        stack.config["machines"] = [*all_three[:2], {**all_three[2], "identity": "new"}]
        stack.up(*_only("etcd-3"))
        assert running_versions(found) == ["3.6.16", "3.5.35", "3.6.16"]

        rest = process_ids([found[0], found[2]])
        probe.mark("pulumi up")
        stack.up()
        probe.mark("done")
    assert running_versions(found) == ["3.6.16"] * 3
    assert process_ids([found[0], found[2]]) == rest
    assert_serves_all_members(found)
    # One upgrade makes one snapshot, on the first machine.
    assert [_snapshots(machine) for machine in found] == [1, 0, 0]


def test_a_machine_lost_during_an_upgrade_rejoins_under_a_3_7_leader(
    machines: Machines, cluster: tuple[list[Machine], Stack], tmp_path: Path
) -> None:
    """A 3.6 leader without a snapshot since 3.5 would send it entries that etcd 3.7 cannot read."""
    found, stack = cluster
    stack.config["version"] = "3.6.16"
    stack.up()

    _break_release(found[1], "3.7.3")
    stack.config["version"] = "3.7.3"
    with probing(stack, found, tmp_path, "A machine lost in an upgrade to 3.7") as probe:
        probe.mark("pulumi up, etcd-2 has a broken etcd")
        assert stack.up(check=False).code != 0
        assert running_versions(found) == ["3.7.3", "3.6.16", "3.6.16"]
        lead(found, found[2])
        probe.mark("etcd-2 is wiped")
        machines.lab.kill("etcd-2")
        machines.lab.wipe("etcd-2")
        stack.config["machines"][1]["identity"] = "new"
        run = stack.up(*_only("etcd-2"))
        assert "etcd-2: etcd-3 handed leadership to etcd-1" in run.text
        assert running_versions(found) == ["3.7.3", "3.7.3", "3.6.16"]
        probe.mark("pulumi up")
        stack.up()
        probe.mark("done")
    assert running_versions(found) == ["3.7.3"] * 3
    assert_serves_all_members(found)


def _only(member: str) -> list[str]:
    """The options of a run for one member alone, as in the manual."""
    return [f"--target=**test-{member}-{step}" for step in ("program", "prepare", "converge")]


def _snapshots(machine: Machine) -> int:
    return len(machine.run("ls /var/lib/etcd.snapshots/*.db 2>/dev/null || true", root=True).stdout.split())
