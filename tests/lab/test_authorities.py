"""A CA change in three updates: writers are not affected, and no phase can come too early."""

import json
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.node.shared.spec import CERTIFICATES, KEYS
from lab import Machine
from tests.support.authority import OwnAuthority
from tests.support.bootstrapped import Bootstrapped
from tests.support.clients import IN, OUT, Held, knocking, speaks_to_peers, tls_of
from tests.support.etcd import PKI, assert_serves_all_members, process_ids, write_client_files
from tests.support.machines import Machines
from tests.support.manual import assert_as_in_the_manual
from tests.support.prober import probing
from tests.support.stacks import Stacks
from tests.support.waiting import every


def restarts(machines: Sequence[Machine]) -> dict[str, int]:
    """Member -> number of starts of its etcd: of its unit, or of its pod."""
    unit = "journalctl --no-pager -q -o cat -u etcd.service | grep -c '^Started etcd'"
    pod = "journalctl --no-pager -q -o cat -u containerd.service | grep -c 'StartContainer .* returns successfully'"
    count = f"n=$({unit}); echo $((n + $({pod})))"
    return {machine.name: int(machine.run(count, root=True).stdout) for machine in machines}


def files_for(
    machine: Machine,
    bundle: Sequence[str],
    issuer: OwnAuthority,
    kinds: Sequence[str] = ("server", "healthcheck-client"),
) -> dict[str, str]:
    """Standard input for `converge`: the installed files, with the test's CA for certificates of these kinds.

    The CA list is that of clients and servers, or for a certificate of kind `peer` that of peers.
    """
    files = {name: machine.run(f"cat {PKI}/{name}", root=True).stdout for name in (*CERTIFICATES, *KEYS)}
    files["peer-ca.crt" if "peer" in kinds else "ca.crt"] = "".join(bundle)
    for kind in kinds:
        files[f"{kind}.crt"], files[f"{kind}.key"] = issuer.issue(
            machine.name, [machine.name, "localhost"], [machine.address, "127.0.0.1"]
        )
    return files


def converge(machine: Machine, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run etcd-node by hand with its present specification, which bypasses all earlier checks."""
    spec = machine.run("cat /var/lib/etcd-node/installed.json", root=True).stdout
    command = f"etcd-node converge {shlex.quote(spec)}"
    return machine.run(command, input=json.dumps({"identity": "", "files": files}), root=True, check=False, timeout=120)


def pki_of(machine: Machine) -> str:
    """Checksums of all certificates and keys on a machine."""
    return machine.run("sha256sum /etc/etcd/pki/* /var/lib/etcd-node/identity.json", root=True).stdout


def refused(machine: Machine, files: dict[str, str], machines: Sequence[Machine]) -> str:
    """The refusal of these files by `converge`; fails if anything changed."""
    before, processes = pki_of(machine), process_ids(machines)
    done = converge(machine, files)
    assert done.returncode != 0, done.stdout
    assert "nothing was changed" in done.stderr
    assert pki_of(machine) == before
    assert process_ids(machines) == processes
    return str(done.stderr)


def pair_of(outputs: dict[str, Any]) -> tuple[str, str]:
    client = outputs["apiserver_etcd_client"]
    return client["certificate"], client["private_key"]


def test_a_users_own_ca_takes_over_in_three_updates(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    found, stack = bootstrapped()
    ours = OwnAuthority()
    old_ca, old_pair = stack.outputs()["ca_cert"], pair_of(stack.outputs())
    new_pair = ours.issue("kube-apiserver-etcd-client")
    both = [old_ca, ours.certificate]
    clients = {
        "old": tls_of(tmp_path, "old", [old_ca], old_pair),
        "old with the bundle": tls_of(tmp_path, "bundle", both, old_pair),
        "new with the bundle": tls_of(tmp_path, "switched", both, new_pair),
        "new": tls_of(tmp_path, "new", [ours.certificate], new_pair),
    }
    own = {"name": "ours", "certificate": ours.certificate, "privateKey": ours.private_key}

    # The machines themselves refuse it too: every member must trust the CA first.
    said = refused(found[0], files_for(found[0], both, ours), found)
    assert "are not accepted everywhere yet" in said
    assert "etcd-2" in said
    assert "trusts the CA" in refused(found[0], files_for(found[0], [ours.certificate], ours), found)

    def phase(title: str, turns: dict[str, list[str]], restarted: int, **config: Any) -> None:
        """One update. The prober uses the outputs from before it, like API servers."""
        before = restarts(found)
        stack.config.update(config)
        with probing(stack, found, tmp_path, title) as probe, knocking(clients, found) as knocks:
            probe.mark("pulumi up")
            run = stack.up()
            probe.mark("done")
        print(f"{title}: {run.seconds:.1f} s")
        for client, expected in turns.items():
            assert knocks.turns(client) == {machine.name: expected for machine in found}, client
        assert {name: count - before[name] for name, count in restarts(found).items()} == {
            machine.name: restarted for machine in found
        }
        assert probe.report.most_down <= restarted

    held = Held(clients["old"], found)
    phase(
        "CA rotation: trust both",
        {"old": [IN], "old with the bundle": [IN], "new with the bundle": [OUT, IN], "new": [OUT]},
        1,
        authorities=[{"name": "1"}, own],
        issuer="1",
    )
    assert stack.outputs()["ca_cert"] == "".join(both)
    assert pair_of(stack.outputs()) == old_pair
    held.use()
    assert sorted(held.lost) == [machine.name for machine in found]

    # The old CA cannot be dropped before the new one issues, and only while every member answers.
    assert "is still in use" in refused(found[1], files_for(found[1], [ours.certificate], ours), found)
    found[2].run("systemctl stop etcd", root=True)
    assert "etcd-3: connection refused" in refused(found[0], files_for(found[0], both, ours), found[:2])
    found[2].run("systemctl start etcd", root=True)

    held = Held(clients["old"], found)
    phase(
        "CA rotation: the new one issues",
        {"old": [IN, OUT], "old with the bundle": [IN], "new with the bundle": [IN], "new": [OUT, IN]},
        0,
        issuer="ours",
    )
    held.use()
    assert held.lost == [], "established connections stay"
    for part in (0, 1):
        assert pair_of(stack.outputs())[part] != old_pair[part]

    phase(
        "CA rotation: drop the old one",
        {"old": [OUT], "old with the bundle": [IN, OUT], "new with the bundle": [IN], "new": [IN]},
        1,
        authorities=[own],
    )
    held.use()
    assert sorted(held.lost) == [machine.name for machine in found]
    found[0].run("journalctl -q -u etcd | grep -q 'rejected connection'", root=True)
    assert stack.outputs()["ca_cert"] == ours.certificate
    assert_serves_all_members(found)
    stack.up("--expect-no-changes")


def test_a_killed_ca_rotation_is_completed_by_the_next_updates(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    found, stack = bootstrapped()
    keys = [machine.run("sha256sum </etc/etcd/pki/server.key", root=True).stdout for machine in found]

    def killed(title: str, section: str, **config: Any) -> None:
        """One update that is killed during the restart of the second member, and another one."""
        before, processes = restarts(found), process_ids(found)
        stack.config.update(config)
        assert_as_in_the_manual(stack, section)
        with probing(stack, found, tmp_path, title) as probe:
            stack.up_killed_when(lambda: "etcd-2: restarts for" in stack.log.read_text())
            probe.mark("killed")
            # A command that runs on a machine completes.
            assert any(process_ids(found[1:2])["etcd-2"] != processes["etcd-2"] for _ in every(0.2, seconds=60))
            assert process_ids(found[2:])["etcd-3"] == processes["etcd-3"]
            stack.up()
        assert restarts(found) == {name: count + 1 for name, count in before.items()}
        assert_serves_all_members(found)

    killed("CA rotation, killed: trust both", "1. Trust both", authorities=[{"name": "1"}, {"name": "2"}], issuer="1")
    processes = process_ids(found)
    stack.config["issuer"] = "2"
    assert_as_in_the_manual(stack, "2. The new one issues")
    with probing(stack, found, tmp_path, "CA rotation, killed: the new one issues"):
        stack.up()
    assert process_ids(found) == processes
    new_keys = [machine.run("sha256sum </etc/etcd/pki/server.key", root=True).stdout for machine in found]
    assert not set(keys) & set(new_keys)
    killed("CA rotation, killed: drop the old one", "3. Drop the old one", authorities=[{"name": "2"}])

    assert stack.outputs()["ca_cert"].count("BEGIN CERTIFICATE") == 1
    stack.up("--expect-no-changes")


def test_a_cluster_with_one_ca_gets_a_peer_ca_in_three_updates(
    machines: Machines, stacks: Stacks, tmp_path: Path
) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found, peerAuthorities=[{"name": "1"}])
    stack.up()
    # With one list of CAs in one file, and a record without the CAs of peers.
    del stack.config["peerAuthorities"]
    applied = stack.outputs()["applied"]
    stack.left(applied={key: value for key, value in applied.items() if not key.startswith("peer_")})
    for machine in found:
        machine.run(f"rm {PKI}/peer-ca.crt", root=True)
    before = process_ids(found)
    stack.up("--replace=**-converge")
    assert process_ids(found) == before
    stack.up("--expect-no-changes")

    write_client_files(tmp_path, stack.outputs())
    client = (tmp_path / "client.crt", tmp_path / "client.key")
    assert all(speaks_to_peers(machine, *client) for machine in found), "with one CA peer ports accept every client"

    # The machines themselves refuse it too: every member must trust the peers' CA first.
    stranger = OwnAuthority("peers")
    theirs = files_for(found[0], [stack.outputs()["ca_cert"], stranger.certificate], stranger, ["peer"])
    said = refused(found[0], theirs, found)
    assert "are not accepted everywhere yet" in said
    assert "list it in `peerAuthorities` next to the old one" in said

    def phase(title: str, restarted: int, *, open_to_clients: bool, **config: Any) -> None:
        begun = restarts(found)
        stack.config.update(config)
        with probing(stack, found, tmp_path, title) as probe:
            stack.up()
        assert restarts(found) == {name: count + restarted for name, count in begun.items()}
        assert probe.report.most_down <= restarted
        assert [speaks_to_peers(machine, *client) for machine in found] == [open_to_clients] * 3

    both = [{"name": "1"}, {"name": "peer-1"}]
    stack.config.update(peerAuthorities=both)
    assert_as_in_the_manual(stack, "A separate CA for peers")
    pair = pair_of(stack.outputs())
    phase("A CA for peers: trust both", 1, open_to_clients=True, peerAuthorities=both)
    phase("A CA for peers: the new one issues", 0, open_to_clients=True, peerIssuer="peer-1")
    phase("A CA for peers: drop the old one", 1, open_to_clients=False, peerAuthorities=both[1:])
    assert_serves_all_members(found)
    assert pair_of(stack.outputs()) == pair, "client certificates are unchanged"
    for machine in found:
        status = machine.run("etcd-node status", root=True).stdout
        assert "peer-ca.crt" in status
    # A new cluster has the same, without any configuration.
    del stack.config["peerAuthorities"], stack.config["peerIssuer"]
    stack.up("--expect-no-changes")
