"""Queries to members, over ssh or from this computer."""

import json
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import Machine
from lab.clouds import CloudMachine
from tools.etcd import etcd_binary

from .versions import DEFAULT_ETCD

PKI = "/etc/etcd/pki"
OPTIONS = f"--cacert={PKI}/ca.crt --cert={PKI}/healthcheck-client.crt --key={PKI}/healthcheck-client.key"
"""For etcdctl on a member."""
_POD_PID = "pgrep -f '^/usr/local/bin/etcd '"
PID = f"{{ {_POD_PID} || systemctl show -P MainPID etcd; }}"
"""A shell command that prints the pid of etcd, in a static pod or in a unit."""


def etcdctl(machine: Machine | CloudMachine, *arguments: str, endpoint: str | None = None, check: bool = True) -> str:
    """Run etcdctl as root on a member, by default against the member itself; returns its stdout."""
    command = [
        "/usr/local/bin/etcdctl",
        f"--endpoints={endpoint or f'https://{machine.address}:2379'}",
        *OPTIONS.split(),
        *arguments,
    ]
    return machine.run(command, check=check, root=True).stdout


def member_list(machine: Machine) -> list[dict[str, Any]]:
    """The member list, from this member."""
    return list(json.loads(etcdctl(machine, "member", "list", "--write-out=json"))["members"])


def lead(machines: Sequence[Machine], leader: Machine) -> None:
    """Transfer leadership to one of the members on these machines, unless it has it."""
    number = next(row["ID"] for row in member_list(leader) if row["name"] == leader.name)
    every = ",".join(f"https://{machine.address}:2379" for machine in machines)
    for _ in range(3):
        # Refused if it is already the leader, so the result is checked instead.
        etcdctl(leader, "move-leader", f"{number:x}", endpoint=every, check=False)
        status = json.loads(etcdctl(leader, "endpoint", "status", "--write-out=json"))[0]["Status"]
        if status["leader"] == number:
            return
    raise AssertionError(f"{leader.name} does not lead: {status}")


def running_versions(machines: Sequence[Machine]) -> list[str]:
    """The etcd version of each running member."""
    return [etcdctl(machine, "endpoint", "status", "--write-out=simple").split(", ")[2] for machine in machines]


def assert_serves_all_members(machines: Sequence[Machine]) -> None:
    """Put a value through the first member and read it from all; all must be voters and ready."""
    etcdctl(machines[0], "put", "written", machines[0].name)
    for machine in machines:
        assert etcdctl(machine, "get", "written", "--print-value-only").strip() == machines[0].name, machine.name
    listed = member_list(machines[-1])
    assert sorted(row["name"] for row in listed) == sorted(machine.name for machine in machines)
    assert not any(row.get("isLearner") for row in listed)


def assert_no_drift(machines: Sequence[Machine]) -> None:
    """Nothing on these machines differs from what was installed: `etcd-node` has noted all that it has written."""
    for machine in machines:
        said = machine.run("etcd-node drift", root=True).stdout
        assert said == "Nothing differs from what was installed.\n", f"{machine.name}: {said}"


def command_line(machine: Machine) -> str:
    """etcd's command line on a machine, an argument per line; empty if it is not running."""
    read = f"tr '\\0' '\\n' </proc/$({PID})/cmdline"
    return machine.run(read, root=True, check=False).stdout


def process_ids(machines: Sequence[Machine] | Sequence[CloudMachine]) -> dict[str, str]:
    """Member -> pid and start time of its etcd, in a unit or in a static pod; a restart changes them."""
    show = "systemctl show etcd.service -p MainPID -p ActiveEnterTimestampMonotonic -p NRestarts --value"
    pod = f"for pid in $({_POD_PID}); do cut -d ' ' -f 1,22 /proc/$pid/stat; done"
    return {machine.name: machine.run(f"{show}; {pod}", root=True).stdout for machine in machines}


def log_entries(machine: Machine, pattern: str) -> list[dict[str, Any]]:
    """The entries of etcd's log that match an extended regular expression, in order of their time `ts`.

    The log of a static pod disappears a while after the pod.
    """
    unit = "journalctl -q -u etcd.service -o cat --no-pager"
    read = f"{{ {unit}; cat /var/log/pods/kube-system_etcd-*/etcd/*.log 2>/dev/null | cut -d ' ' -f 4-; }}"
    said = machine.run(f"{read} | grep -E {shlex.quote(pattern)}", root=True, check=False).stdout
    return sorted((json.loads(line) for line in said.splitlines()), key=lambda entry: str(entry["ts"]))


def served(machine: Machine, port: int) -> str:
    """Serial number of the certificate that etcd presents on a port."""
    show = f"echo | openssl s_client -connect {machine.address}:{port} 2>/dev/null | openssl x509 -noout -serial"
    return subprocess.run(show, shell=True, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S602


def write_client_files(directory: Path, outputs: dict[str, Any]) -> list[str]:
    """Write the CA and the API server's client certificate to files; returns the etcdctl options for them."""
    client = outputs["apiserver_etcd_client"]
    files = {"ca.crt": outputs["ca_cert"], "client.crt": client["certificate"], "client.key": client["private_key"]}
    for name, content in files.items():
        (directory / name).write_text(content)
    return [f"--cacert={directory}/ca.crt", f"--cert={directory}/client.crt", f"--key={directory}/client.key"]


def etcdctl_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run etcdctl on this computer."""
    command = [str(etcd_binary(DEFAULT_ETCD, "etcdctl")), "--dial-timeout=3s", "--command-timeout=5s", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
