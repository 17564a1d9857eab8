"""What tests ask a member, over ssh or from this computer."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import Machine
from lab.clouds import CloudMachine
from tools.etcd import etcd_binary

from .versions import DEFAULT_ETCD

PKI = "/etc/etcd/pki"


def etcdctl(machine: Machine | CloudMachine, *arguments: str, endpoint: str | None = None, check: bool = True) -> str:
    """Runs etcdctl as root on a member, by default against the member itself; returns its stdout."""
    command = [
        "/usr/local/bin/etcdctl",
        f"--endpoints={endpoint or f'https://{machine.address}:2379'}",
        f"--cacert={PKI}/ca.crt",
        f"--cert={PKI}/healthcheck-client.crt",
        f"--key={PKI}/healthcheck-client.key",
        *arguments,
    ]
    return machine.run(command, check=check, root=True).stdout


def member_list(machine: Machine) -> list[dict[str, Any]]:
    """The member list as this member has it."""
    return list(json.loads(etcdctl(machine, "member", "list", "--write-out=json"))["members"])


def lead(machines: Sequence[Machine], leader: Machine) -> None:
    """Moves leadership of the members on these machines to one of them, if it has not got it."""
    number = next(row["ID"] for row in member_list(leader) if row["name"] == leader.name)
    every = ",".join(f"https://{machine.address}:2379" for machine in machines)
    for _ in range(3):
        # Refused where it leads already; so what came of it is asked.
        etcdctl(leader, "move-leader", f"{number:x}", endpoint=every, check=False)
        status = json.loads(etcdctl(leader, "endpoint", "status", "--write-out=json"))[0]["Status"]
        if status["leader"] == number:
            return
    raise AssertionError(f"{leader.name} does not lead: {status}")


def running_versions(machines: Sequence[Machine]) -> list[str]:
    """Which etcd each member runs."""
    return [etcdctl(machine, "endpoint", "status", "--write-out=simple").split(", ")[2] for machine in machines]


def assert_serves_all_members(machines: Sequence[Machine]) -> None:
    """A value put through the first member is read, linearizably, through every one; all are voters, all are ready."""
    etcdctl(machines[0], "put", "written", machines[0].name)
    for machine in machines:
        assert etcdctl(machine, "get", "written", "--print-value-only").strip() == machines[0].name, machine.name
    listed = member_list(machines[-1])
    assert sorted(row["name"] for row in listed) == sorted(machine.name for machine in machines)
    assert not any(row.get("isLearner") for row in listed)


def command_line(machine: Machine) -> str:
    """What etcd runs with on a machine, a word per line; empty while it does not run."""
    read = "tr '\\0' '\\n' </proc/$(systemctl show -P MainPID etcd)/cmdline"
    return machine.run(read, root=True, check=False).stdout


def process_ids(machines: Sequence[Machine] | Sequence[CloudMachine]) -> dict[str, str]:
    """Member -> pid and start time of its etcd; a restart changes it."""
    show = "systemctl show etcd.service -p MainPID -p ActiveEnterTimestampMonotonic -p NRestarts --value"
    return {machine.name: machine.run(show, root=True).stdout for machine in machines}


def served(machine: Machine, port: int) -> str:
    """Serial number of the certificate that etcd presents on a port."""
    show = f"echo | openssl s_client -connect {machine.address}:{port} 2>/dev/null | openssl x509 -noout -serial"
    return subprocess.run(show, shell=True, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S602


def write_client_files(directory: Path, outputs: dict[str, Any]) -> list[str]:
    """Writes CA and API server's client certificate to files; returns the etcdctl options that name them."""
    client = outputs["apiserver_etcd_client"]
    files = {"ca.crt": outputs["ca_cert"], "client.crt": client["certificate"], "client.key": client["private_key"]}
    for name, content in files.items():
        (directory / name).write_text(content)
    return [f"--cacert={directory}/ca.crt", f"--cert={directory}/client.crt", f"--key={directory}/client.key"]


def etcdctl_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs etcdctl on this computer."""
    command = [str(etcd_binary(DEFAULT_ETCD, "etcdctl")), "--dial-timeout=3s", "--command-timeout=5s", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
