"""The whole program on an emulated cloud, for tests: its stacks, what is asked of its machines, a probe from one."""

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
"""Upper bound of an update that makes machines, on a computer that has much else to do."""
FILES = {name: REPO / name for name in ("Pulumi.yaml", "__main__.py", "components", "stacks", ".venv")}
SLOTS = ("etcd-1", "etcd-2", "etcd-3")


def example(kind: str) -> dict[str, Any]:
    """The configuration of the platform's example."""
    return dict(yaml.safe_load((REPO / f"Pulumi.{kind}.yaml").read_text())["config"])


def settings(stack: Stack) -> dict[str, Any]:
    """The object in a stack's configuration that has its platform's name."""
    found: dict[str, Any] = stack.config[f"external-etcd:{stack.config['external-etcd:platform']}"]
    return found


def raise_generation(stack: Stack, *slots: str, by: int = 1) -> None:
    """Raises the generation of these slots in the stack's configuration."""
    for slot in settings(stack)["slots"]:
        slot["generation"] += by if slot["name"] in slots else 0


class CloudStacks(ABC):
    """Makes stacks on one emulated cloud, and does what others do there; a stack's name is its cluster's.

    Args:
        cloud: the cloud.
        directory: for the stacks and their states.
        environ: what the engine's environment has beside its own.
        config: what the configuration of every stack has beside the example's, since this cloud is not the real one.
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
        self._config = {"external-etcd:releaseMirror": "http://releases.lab", **(config or {})}

    def new(self, cluster: str, slots: int = 3, keys: dict[str, Any] | None = None, **changes: Any) -> Stack:
        """The example, changed where the emulated cloud is not the real one; it is not up.

        Args:
            cluster: name of the stack and of its cluster.
            slots: how many.
            keys: further keys of the program.
            changes: keys of the platform's object; None takes one away.
        """
        config = example(self.kind) | self._config | {"external-etcd:clusterName": cluster}
        config |= {f"external-etcd:{name}": value for name, value in (keys or {}).items()}
        wanted = config[f"external-etcd:{self.kind}"] | {"operators": [f"{self._emulated.public[1]}/32"], **changes}
        wanted["slots"] += [{"name": f"etcd-{n}", "generation": 1} for n in range(4, slots + 1)]
        config[f"external-etcd:{self.kind}"] = {name: value for name, value in wanted.items() if value is not None}
        return Stack(self._directory / cluster, self._environ, config, FILES, "external-etcd")

    def machine(self, stack: Stack, name: str) -> CloudMachine:
        """The machine of a slot, or another one of the cluster's."""
        return self._emulated.machine(f"{stack.directory.name}-{name}")

    def members(self, stack: Stack) -> list[CloudMachine]:
        """The machines of all slots, in order."""
        return [self.machine(stack, slot["name"]) for slot in settings(stack)["slots"]]

    def stranger(self) -> Machine:
        """A machine on the public network that is none of the cloud's."""
        return self._emulated.stranger()

    def left(self) -> list[str]:
        """Everything in the account, and every machine."""
        found = [f"{kind} {name}" for kind, names in self._emulated.resources().items() for name in names]
        return found + [machine.name for machine in self._emulated.machines()]

    def counts(self, stack: Stack) -> dict[str, int]:
        """Type -> how many resources of the cloud's package the state holds."""
        found: dict[str, int] = {}
        for resource in stack.export()["deployment"]["resources"]:
            if resource["type"].startswith(f"{self.package}:"):
                kind = resource["type"].rpartition(":")[2]
                found[kind] = found.get(kind, 0) + 1
        return found

    @abstractmethod
    def beside(self, stack: Stack, *who: str) -> list[CloudMachine]:
        """New machines in the cluster's network that are not the program's.

        Args:
            stack: is up.
            who: `client` may reach etcd's client port; anybody else may reach nothing.
        """

    @abstractmethod
    def remove_beside(self) -> None:
        """Takes away what `beside` made."""

    @abstractmethod
    def terminate(self, stack: Stack, slot: str) -> None:
        """Ends the machine of a slot behind Pulumi's back."""


def ask(machine: CloudMachine, *words: str, check: bool = True) -> str:
    """Runs etcdctl on a machine against its own member, as root; returns stdout."""
    return etcdctl(machine, *words, endpoint=f"https://{machine.private_addresses[0]}:2379", check=check)


def members(machine: CloudMachine) -> dict[str, int]:
    """Name -> ID of all voters, as this machine's member has them; fails while there is a learner."""
    listed = json.loads(ask(machine, "member", "list", "--write-out=json"))["members"]
    assert not any(row.get("isLearner") for row in listed), listed
    return {row["name"]: row["ID"] for row in listed}


def unhealthy(machine: CloudMachine) -> list[str]:
    """What etcd itself says of every member, asked on one of the machines: the endpoints that are not healthy."""
    # It exits with 1 when one of them is not; and says nothing when it cannot have the list.
    said = ask(machine, "endpoint", "health", "--cluster", "--write-out=json", check=False)
    if not said.startswith("["):
        return [machine.name]
    return [each["endpoint"] for each in json.loads(said) if not each["health"]]


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
