"""A firewall on existing machines restricts access to etcd while it is configured."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.cloud_stacks import open_ports
from tests.support.etcd import assert_serves_all_members, process_ids
from tests.support.machines import Machines
from tests.support.prober import probing


@contextlib.contextmanager
def connected(machine: Machine, address: str, port: int = 2379) -> Iterator[None]:
    """Hold a connection from the machine to the port at the address during the block."""
    hold = f"exec 3<>/dev/tcp/{address}/{port}; sleep infinity"
    machine.run(["systemd-run", "-q", "--unit=client", "bash", "-c", hold], root=True)
    try:
        machine.run(f"until ss -Htn state established dst {address}:{port} | grep -q .; do sleep 0.1; done")
        yield
    finally:
        machine.run("systemctl stop client", root=True)


def test_a_firewall_can_be_added_and_removed_without_restarts(
    machines: Machines, bootstrapped: Bootstrapped, tmp_path: Path
) -> None:
    (*found, stranger), stack = bootstrapped(4)
    processes = process_ids(found)
    assert all(open_ports(stranger, machine.address) == [22, 2379, 2380] for machine in found)
    here = f"{machines.lab.address}/32"

    # Turning the firewall on must not interrupt connected clients.
    stack.config["firewall"] = {"clients": [here]}
    with connected(stranger, found[1].address):
        run = stack.up(check=False)
    assert run.code != 0
    assert f"{stranger.address} is connected to port 2379 of this machine and would be disconnected" in run.text
    assert 2379 in open_ports(stranger, found[1].address)

    with probing(stack, found, tmp_path, "A firewall on machines that exist"):
        stack.up()
        for machine in found:
            assert open_ports(stranger, machine.address) == [22], "ssh stays as it was"
            others = [other for other in found if other != machine]
            assert all(open_ports(other, machine.address) == [22, 2379, 2380] for other in others)
    stack.up("--expect-no-changes")

    del stack.config["firewall"]
    stack.up()
    assert open_ports(stranger, found[0].address) == [22, 2379, 2380]
    assert process_ids(found) == processes
    assert_serves_all_members(found)

    # Those who reach etcd's metrics also reach what the machine itself serves.
    named = {"clients": [here], "metricsClients": [stranger.address]}
    stack.config |= {"prometheus": True, "metrics": "private", "firewall": named}
    stack.up()
    assert all(open_ports(stranger, machine.address) == [22, 2381, 2382] for machine in found)
    # Otherwise the first file is there some seconds later.
    found[1].run("systemctl start etcd-metrics", root=True)
    read = f"import urllib.request; print(urllib.request.urlopen('http://{found[1].address}:2382/metrics').read())"
    text = stranger.run(["python3", "-c", read]).stdout
    assert 'etcd_node_certificate_expiry_timestamp_seconds{cluster="test",member="etcd-2"' in text
    stack.up("--expect-no-changes")
    assert_a_port_closes_before_its_rule_goes(found[0], found, stranger)
    assert_no_run_locks_itself_out(found[0], stranger)


def assert_a_port_closes_before_its_rule_goes(machine: Machine, members: Sequence[Machine], stranger: Machine) -> None:
    """`prepare` loads rules without port 2382, which nobody may reach until `converge`."""
    spec = json.loads(machine.run("cat /var/lib/etcd-node/installed.json", root=True).stdout)
    del spec["metrics_port"]
    spec["firewall"] = {port: [f"{each.address}/32" for each in members] for port in ("2379", "2380", "2381")}
    machine.run(["sudo", "-n", "timeout", "60", "etcd-node", "prepare", json.dumps(spec)])
    assert open_ports(stranger, machine.address) == [22]


def assert_no_run_locks_itself_out(machine: Machine, other: Machine) -> None:
    """Rules that block the ssh connection which brings them are refused, even if they allow another login."""
    spec = json.loads(machine.run("cat /var/lib/etcd-node/installed.json", root=True).stdout)
    spec["firewall"] = {"22": [f"{other.address}/32"]}
    with connected(other, machine.address, 22):
        run = machine.run(["sudo", "-n", "timeout", "60", "etcd-node", "prepare", json.dumps(spec)], check=False)
        assert "you would be locked out; nothing was loaded" in run.stderr
    assert machine.answers()
