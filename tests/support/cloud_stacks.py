"""The whole program on an emulated cloud, for tests: stacks, queries to machines, a probe from inside the cloud."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from lab import Machine
from lab.clouds import AwsCloud, CloudMachine, HetznerCloud
from lab.engine import environment
from lab.probe import Report

from .etcd import etcdctl, write_client_files
from .prober import GAP_SECONDS, PACE
from .stacks import REPO, Stack

UP_SECONDS = 600
"""Upper bound of an update that creates machines, on a busy computer."""
FILES = {name: REPO / name for name in ("Pulumi.yaml", "__main__.py", "components", "stacks", ".venv")}
SLOTS = ("etcd-1", "etcd-2", "etcd-3")


def example(kind: str) -> dict[str, Any]:
    """The configuration of the platform's example."""
    return dict(yaml.safe_load((REPO / f"Pulumi.{kind}.yaml").read_text())["config"])


def settings(stack: Stack) -> dict[str, Any]:
    """The object of the platform in a stack's configuration."""
    found: dict[str, Any] = stack.config[f"external-etcd:{stack.config['external-etcd:platform']}"]
    return found


def raise_generation(stack: Stack, *slots: str, by: int = 1) -> None:
    """Raise the generation of these slots in the stack's configuration."""
    for slot in settings(stack)["slots"]:
        slot["generation"] += by if slot["name"] in slots else 0


class CloudStacks(ABC):
    """Creates stacks on one emulated cloud, and other machines beside them; a stack's name is its cluster's.

    Args:
        cloud: the cloud.
        directory: for the stacks and their states.
        environ: additions to the engine's environment.
        config: additions to the example's configuration, for every stack on this emulated cloud.
    """

    kind: ClassVar[str]
    """The platform's name."""
    package: ClassVar[str]
    """The name of its Pulumi package."""

    def __init__(
        self,
        cloud: AwsCloud | HetznerCloud,
        directory: Path,
        environ: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self._emulated = cloud
        self._directory = directory
        self._environ = {**environment(directory / "engine"), **(environ or {})}
        self._config: dict[str, Any] = {
            "external-etcd:releaseMirror": "http://releases.lab",
            # All machines share one disk.
            "external-etcd:acknowledge": ["slow-disk"],
            **(config or {}),
        }

    def new(self, cluster: str, slots: int = 3, keys: dict[str, Any] | None = None, **changes: Any) -> Stack:
        """A stack with the example's configuration, adapted to the emulated cloud; it is not up.

        Args:
            cluster: name of the stack and of its cluster.
            keys: further keys of the program.
            changes: keys of the platform's object; None removes one.
        """
        config = example(self.kind) | self._config | {"external-etcd:clusterName": cluster}
        config |= {f"external-etcd:{name}": value for name, value in (keys or {}).items()}
        wanted = config[f"external-etcd:{self.kind}"] | {"operators": [f"{self._emulated.public[1]}/32"], **changes}
        wanted["slots"] += [{"name": f"etcd-{n}", "generation": 1} for n in range(4, slots + 1)]
        config[f"external-etcd:{self.kind}"] = {name: value for name, value in wanted.items() if value is not None}
        return Stack(self._directory / cluster, self._environ, config, FILES, "external-etcd")

    def machine(self, stack: Stack, name: str) -> CloudMachine:
        """The machine of a slot, or another machine of the cluster, by name."""
        return self._emulated.machine(f"{stack.directory.name}-{name}")

    def members(self, stack: Stack) -> list[CloudMachine]:
        """The machines of all slots, in order."""
        return [self.machine(stack, slot["name"]) for slot in settings(stack)["slots"]]

    def stranger(self) -> Machine:
        """A machine on the public network outside the cloud."""
        return self._emulated.stranger()

    def left(self) -> list[str]:
        """Everything in the account, and every machine."""
        found = [f"{kind} {name}" for kind, names in self._emulated.resources().items() for name in names]
        return found + [machine.name for machine in self._emulated.machines()]

    def counts(self, stack: Stack) -> dict[str, int]:
        """Type -> number of resources of the cloud's package in the state."""
        found: dict[str, int] = {}
        for resource in stack.export()["deployment"]["resources"]:
            if resource["type"].startswith(f"{self.package}:"):
                kind = resource["type"].rpartition(":")[2]
                found[kind] = found.get(kind, 0) + 1
        return found

    @abstractmethod
    def beside(self, stack: Stack, *who: str) -> list[CloudMachine]:
        """New machines in the cluster's network that the program does not manage.

        Args:
            stack: is up.
            who: `client` may connect to etcd's client port; any other name may connect to nothing.
        """

    @abstractmethod
    def remove_beside(self) -> None:
        """Remove the machines of `beside`."""

    @abstractmethod
    def terminate(self, stack: Stack, slot: str) -> None:
        """Terminate the machine of a slot behind Pulumi's back."""


def ask(machine: CloudMachine, *words: str, check: bool = True) -> str:
    """Run etcdctl on a machine against its own member, as root; returns stdout."""
    return etcdctl(machine, *words, endpoint=f"https://{machine.private_addresses[0]}:2379", check=check)


def members(machine: CloudMachine) -> dict[str, int]:
    """Name -> ID of all voters, from this machine's member; fails if there is a learner."""
    listed = json.loads(ask(machine, "member", "list", "--write-out=json"))["members"]
    assert not any(row.get("isLearner") for row in listed), listed
    return {row["name"]: row["ID"] for row in listed}


def unhealthy(machine: CloudMachine) -> list[str]:
    """The endpoints that `etcdctl endpoint health --cluster` reports as unhealthy on one of the machines."""
    # It exits with 1 if an endpoint is unhealthy, and prints nothing if it cannot get the list.
    said = ask(machine, "endpoint", "health", "--cluster", "--write-out=json", check=False)
    if not said.startswith("["):
        return [machine.name]
    return [each["endpoint"] for each in json.loads(said) if not each["health"]]


def leader(machines: Sequence[CloudMachine]) -> CloudMachine:
    """The machine of the leader."""
    for machine in machines:
        (row,) = json.loads(ask(machine, "endpoint", "status", "--write-out=json"))
        if row["Status"]["leader"] == row["Status"]["header"]["member_id"]:
            return machine
    raise AssertionError("there is no leader")


def open_ports(
    machine: Machine | CloudMachine, address: str, ports: Sequence[int] = (22, 2379, 2380, 2381, 2382)
) -> list[int]:
    """The ports of an address that accept a connection from a machine."""
    one = f"timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/'$port 2>/dev/null && echo $port"
    said = machine.run(f"for port in {' '.join(map(str, ports))}; do ({one}) & done; wait").stdout
    return sorted(int(port) for port in said.split())


def certificates(machine: CloudMachine) -> str:
    """The certificates and keys on a machine: file and checksum, a line each."""
    return machine.run("cd /etc/etcd/pki && sha256sum *").stdout


@contextlib.contextmanager
def probing_from(machine: CloudMachine, stack: Stack, directory: Path, *, planned: bool) -> Iterator[list[Report]]:
    """Probe the stack's cluster from a machine of the cloud during the block; fails if the probe is not clean.

    The probe is a process of this computer in the network namespace of that machine.

    Args:
        machine: one that may connect to the client port.
        stack: is up; its output has the client certificate.
        directory: for files.
        planned: without unannounced faults; limits the longest gap too.
    """
    directory.mkdir(exist_ok=True)
    outputs = stack.outputs()
    write_client_files(directory, outputs)
    # If the tests run in the background, they and their children ignore the signal that ends the probe.
    command = ["env", "--default-signal=INT", "nsenter", f"--net=/proc/{machine.guest.init}/ns/net"]
    command += [sys.executable, "-m", "lab", "probe", "--json"]
    command += [f"--endpoints={','.join(outputs['endpoints'])}", f"--svg={directory}/probe.svg"]
    command += [f"--patience={PACE.request}", f"--pause={PACE.write}"]
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
