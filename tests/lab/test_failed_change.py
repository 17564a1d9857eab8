"""A member that does not start with what is new is put back to what it had, and the next run finishes."""

import textwrap
from pathlib import Path

from lab import Machine
from tests.support.etcd import assert_serves_all_members, process_ids, running_versions
from tests.support.machines import Machines
from tests.support.prober import probing
from tests.support.stacks import Stacks


def _break_release(machine: Machine, version: str) -> None:
    """Installs a release whose etcd ends at once, as if its archive on the mirror had been such a one."""
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
                    content = b"#!/bin/sh\\necho 'error loading shared libraries' >&2\\nexit 127\\n"
                (place / program).write_bytes(content)
                (place / program).chmod(0o755)
                programs[program] = {{"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        manifest = {{"url": "", "archive_sha256": "0" * 64, "programs": programs, "boot": boot}}
        (place / "release.json").write_text(json.dumps(manifest))
        """
    )
    machine.run(["sudo", "-n", "python3", "-"], input=script, timeout=60)


def test_a_member_that_does_not_start_with_new_settings_or_a_new_version_is_put_back(
    machines: Machines, stacks: Stacks, tmp_path: Path
) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found, version="3.5.35")
    stack.up()

    processes = process_ids(found)
    with probing(stack, found, tmp_path, "A member that does not start is put back") as probe:
        stack.config["flags"] = {"auto-compaction-retention": "soon"}
        probe.mark("a value that etcd does not take")
        failed = stack.up(check=False)
        assert failed.code != 0
        assert "etcd-1: etcd with the new settings did not start, and this member runs with the settings" in failed.text
        assert "auto-compaction-retention" in failed.text
        assert {name for name, now in process_ids(found).items() if now != processes[name]} == {"etcd-1"}
        assert_serves_all_members(found)

        del stack.config["flags"]
        _break_release(found[1], "3.6.16")
        stack.config["version"] = "3.6.16"
        probe.mark("an upgrade with a broken etcd on etcd-2")
        failed = stack.up(check=False)
        print(f"failed after {failed.seconds:.1f} s")
        assert failed.code != 0
        assert "etcd-2: etcd 3.6.16 did not start, and this member runs with etcd 3.5.35 again" in failed.text
        assert "error loading shared libraries" in failed.text
        assert running_versions(found) == ["3.6.16", "3.5.35", "3.5.35"]
        assert process_ids(found)["etcd-3"] == processes["etcd-3"]
        assert_serves_all_members(found)

        first = process_ids(found)["etcd-1"]
        probe.mark("the same again, repaired")
        stack.up()
        probe.mark("done")
    assert running_versions(found) == ["3.6.16"] * 3
    assert process_ids(found)["etcd-1"] == first
    assert_serves_all_members(found)
    # One upgrade, one snapshot, on the machine that was first.
    assert [_snapshots(machine) for machine in found] == [1, 0, 0]


def _snapshots(machine: Machine) -> int:
    return len(machine.run("ls /var/lib/etcd.snapshots/*.db 2>/dev/null || true", root=True).stdout.split())
