"""An upgrade that cannot be: refused with nothing changed, or undone where it failed."""

import textwrap
from pathlib import Path

from lab import Machine
from tests.support.etcd import assert_serves_all_members, etcdctl, process_ids, running_versions
from tests.support.machines import Machines, as_they_are
from tests.support.prober import probing
from tests.support.stacks import Stacks

_PKI = "/etc/etcd/pki"


def _api_v2(machine: Machine, method: str, data: str = "") -> None:
    """One request of etcd's API v2 for the key /old, to a member that serves it meanwhile."""
    drop_in = "/etc/systemd/system/etcd.service.d/v2.conf"
    restart = "systemctl daemon-reload && systemctl restart etcd"
    text = "[Service]\nEnvironment=ETCD_ENABLE_V2=true\n"
    machine.run(f"mkdir -p $(dirname {drop_in}) && cat >{drop_in} && {restart}", input=text, root=True)
    script = textwrap.dedent(
        f"""
        import ssl, urllib.request
        context = ssl.create_default_context(cafile="{_PKI}/ca.crt")
        context.load_cert_chain("{_PKI}/healthcheck-client.crt", "{_PKI}/healthcheck-client.key")
        url = "https://{machine.address}:2379/v2/keys/old"
        request = urllib.request.Request(url, data={data.encode()!r} or None, method="{method}")
        print(urllib.request.urlopen(request, context=context, timeout=10).read().decode())
        """
    )
    machine.run(["sudo", "-n", "python3", "-"], input=script)
    machine.run(f"rm {drop_in} && {restart}", root=True)


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


def test_a_store_of_api_v2_is_refused_and_a_member_that_does_not_start_is_put_back(
    machines: Machines, stacks: Stacks, tmp_path: Path
) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found, version="3.5.35")
    stack.up()
    _api_v2(found[0], "PUT", "value=1")

    before = as_they_are(found)
    stack.config["version"] = "3.6.16"
    refused = stack.up(check=False)
    assert refused.code != 0
    assert "hold something of API v2, which etcd 3.6.16 cannot read" in refused.text
    assert "nothing was changed" in refused.text
    assert as_they_are(found) == before

    # The way out, as the message says it.
    _api_v2(found[1], "DELETE")
    stack.config |= {"version": "3.5.35", "flags": {"snapshot-count": "1"}}
    stack.up()
    etcdctl(found[0], "put", "a", "b")

    _break_release(found[1], "3.6.16")
    stack.config |= {"version": "3.6.16", "flags": {}}
    processes = process_ids(found)
    with probing(stack, found, tmp_path, "A member that does not start with 3.6.16 is put back") as probe:
        probe.mark("pulumi up")
        failed = stack.up(check=False)
        probe.mark("failed")
        print(f"failed after {failed.seconds:.1f} s")
        assert failed.code != 0
        assert "etcd-2: etcd 3.6.16 did not start, and this member runs with etcd 3.5.35 again" in failed.text
        assert "error loading shared libraries" in failed.text
        assert running_versions(found) == ["3.6.16", "3.5.35", "3.5.35"]
        assert process_ids(found)["etcd-3"] == processes["etcd-3"]
        assert_serves_all_members(found)

        first = process_ids(found)["etcd-1"]
        probe.mark("pulumi up again")
        stack.up()
        probe.mark("done")
    assert running_versions(found) == ["3.6.16"] * 3
    assert process_ids(found)["etcd-1"] == first
    assert_serves_all_members(found)
    # One upgrade, one snapshot, on the machine that was first.
    assert [_snapshots(machine) for machine in found] == [1, 0, 0]


def _snapshots(machine: Machine) -> int:
    return len(machine.run("ls /var/lib/etcd.snapshots/*.db 2>/dev/null || true", root=True).stdout.split())
