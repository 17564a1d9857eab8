"""The whole program on an emulated cloud, for tests: what is asked of its machines, and a probe from one of them."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab import Machine
from lab.clouds import CloudMachine
from lab.probe import Report

from .etcd import etcdctl, write_client_files
from .prober import GAP_SECONDS, PACE
from .stacks import REPO, Stack

UP_SECONDS = 600
"""Upper bound of an update that makes machines, on a computer that has much else to do."""
FILES = {name: REPO / name for name in ("Pulumi.yaml", "__main__.py", "components", "stacks", ".venv")}


def ask(machine: CloudMachine, *words: str) -> str:
    """Runs etcdctl on a machine against its own member, as root; returns stdout."""
    return etcdctl(machine, *words, endpoint=f"https://{machine.private_addresses[0]}:2379")


def members(machine: CloudMachine) -> dict[str, int]:
    """Name -> ID of all voters, as this machine's member has them; fails while there is a learner."""
    listed = json.loads(ask(machine, "member", "list", "--write-out=json"))["members"]
    assert not any(row.get("isLearner") for row in listed), listed
    return {row["name"]: row["ID"] for row in listed}


def unhealthy(machine: CloudMachine) -> list[str]:
    """What etcd itself says of every member, asked on one of the machines: the endpoints that are not healthy."""
    found = json.loads(ask(machine, "endpoint", "health", "--cluster", "--write-out=json"))
    return [each["endpoint"] for each in found if not each["health"]]


def leader(machines: Sequence[CloudMachine]) -> CloudMachine:
    """The machine of the member that leads."""
    for machine in machines:
        (row,) = json.loads(ask(machine, "endpoint", "status", "--write-out=json"))
        if row["Status"]["leader"] == row["Status"]["header"]["member_id"]:
            return machine
    raise AssertionError("nobody leads")


def open_ports(
    machine: Machine | CloudMachine, address: str, ports: Sequence[int] = (22, 2379, 2380, 2381)
) -> list[int]:
    """Those of the ports of an address at which a connection from a machine is accepted."""
    one = f"timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/'$port 2>/dev/null && echo $port"
    said = machine.run(f"for port in {' '.join(map(str, ports))}; do ({one}) & done; wait").stdout
    return sorted(int(port) for port in said.split())


def certificates(machine: CloudMachine) -> str:
    """What certificates and keys a machine has: file and its checksum, a line each."""
    return machine.run("cd /etc/etcd/pki && sha256sum *").stdout


def counts(stack: Stack, package: str) -> dict[str, int]:
    """Type -> how many resources of the cloud's package the state holds."""
    found: dict[str, int] = {}
    for resource in stack.export()["deployment"]["resources"]:
        if resource["type"].startswith(f"{package}:"):
            kind = resource["type"].rpartition(":")[2]
            found[kind] = found.get(kind, 0) + 1
    return found


@contextlib.contextmanager
def probing_from(
    machine: CloudMachine,
    stack: Stack,
    directory: Path,
    *,
    planned: bool,
    endpoints: Mapping[str, str] | Sequence[str] = (),
) -> Iterator[list[Report]]:
    """Probes the stack's cluster from a machine of the cloud while the block runs; fails when anything was lost.

    The probe is a process of this computer in the network of that machine.

    Args:
        machine: one that may reach the client port.
        stack: is up; its output has the client certificate.
        directory: for files.
        planned: nothing is done without the program's knowledge: then the longest gap is limited too.
        endpoints: client URLs. Default: the stack's output.
    """
    directory.mkdir(exist_ok=True)
    outputs = stack.outputs()
    write_client_files(directory, outputs)
    # Whoever starts the tests in the background has them, and what they start, ignore the signal that ends the probe.
    command = ["env", "--default-signal=INT", "nsenter", f"--net=/proc/{machine.guest.init}/ns/net"]
    command += [sys.executable, "-m", "lab", "probe", "--json"]
    command += [f"--endpoints={','.join(endpoints or outputs['endpoints'])}", f"--svg={directory}/probe.svg"]
    command += [f"--patience={PACE.request}"]
    command += [f"--ca={directory}/ca.crt", f"--cert={directory}/client.crt", f"--key={directory}/client.key"]
    reports: list[Report] = []
    log = directory / "probe.log"
    with log.open("w") as stderr:
        probe = subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        while "probing" not in log.read_text():
            assert probe.poll() is None, log.read_text()
            time.sleep(0.05)
        yield reports
        probe.send_signal(signal.SIGINT)
        out, _ = probe.communicate(timeout=90)
    finally:
        probe.kill()
        probe.wait(30)
    assert out, log.read_text()
    report = Report(**json.loads(out))
    reports.append(report)
    print(report)
    assert report.clean, report
    assert report.acknowledged > 0
    assert not planned or report.longest_gap < GAP_SECONDS, report
