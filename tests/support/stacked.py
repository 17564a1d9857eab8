"""Stacked kubeadm control planes that move to external members, with clients of their API servers."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from lab import Machine, kubernetes
from tests.support.api_client import using
from tests.support.etcd import member_list
from tests.support.stacks import Run, Stack, machine_config
from tests.support.waiting import every

RESTART_SECONDS = 45
MANIFESTS = "/etc/kubernetes/manifests"
CONFIGURATION = ("--namespace=kube-system", "configmap", "kubeadm-config")


@dataclass(frozen=True)
class Cluster:
    """Stacked control planes, and machines for external members."""

    machines: list[Machine]
    planes: list[Machine]
    stack: Stack

    def configure(self, phase: str) -> None:
        """Set the phase in the configuration."""
        planes = [machine_config(plane) for plane in self.planes]
        self.stack.config["migration"] = {"phase": phase, "controlPlanes": planes}

    def phase(self, name: str, *, killed: str = "", check: bool = True) -> Run:
        """`pulumi up` with this phase.

        Args:
            name: of the phase.
            killed: a first run is killed as soon as it has printed this. Default: there is none.
            check: it must succeed.
        """
        self.configure(name)
        if killed:
            running = self.stack.begin_up()
            try:
                running.until_said(killed)
            finally:
                running.kill()
        run = self.stack.up(check=check)
        print(run.text)
        return run

    def kubeconfig(self, plane: Machine) -> str:
        """The administrator's, for this control plane's API server."""
        return read(self.planes[0], kubernetes.ADMIN).replace(self.planes[0].address, plane.address)

    @contextlib.contextmanager
    def used(self, *, moves: int = 0) -> Iterator[None]:
        """A client of every API server, which notices nothing.

        Args:
            moves: how often a leader hands over. One request of each client may fail then, as when a leader stops.
        """
        with contextlib.ExitStack() as stack:
            for plane in self.planes:
                stack.enter_context(using(self.kubeconfig(plane), moves))
            yield

    def names(self) -> set[str]:
        """The members of the cluster, by the first external one."""
        listed = member_list(self.machines[0])
        assert not any(row.get("isLearner") for row in listed)
        return {row["name"] for row in listed}


def refusal(cluster: Cluster, phase: str = "join", *arguments: str) -> str:
    """What a run of `pulumi up` says that must fail."""
    cluster.configure(phase)
    refused = cluster.stack.up(*arguments, check=False)
    print(refused.text)
    assert refused.code
    return refused.text


def kubectl(machine: Machine, *arguments: str) -> str:
    """Run kubectl as the administrator on a control plane."""
    command = ["kubectl", f"--kubeconfig={kubernetes.ADMIN}", "--request-timeout=20s", *arguments]
    return machine.run(command, root=True).stdout


def restarted(cluster: Cluster, phase: str, killed: str = "") -> None:
    """A phase in which every API server restarts, with a client of each, which continues afterwards."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(using(cluster.kubeconfig(plane))) for plane in cluster.planes]
        cluster.phase(phase, killed=killed)
        enough = [len(client.acknowledged) + 20 for client in clients]
        for _ in every(0.05, seconds=10):
            if all(len(client.acknowledged) >= count for client, count in zip(clients, enough, strict=True)):
                break
        away = sorted(client.restarted() for client in clients)
    print("away:", [f"{end - begin:.1f} s" for begin, end in away])
    for begin, end in away:
        assert end - begin < RESTART_SECONDS
    # At most one at a time.
    for (_, end), (begin, _) in itertools.pairwise(away):
        assert end < begin


def everything(plane: Machine) -> str:
    """All files of Kubernetes on a control plane, with their modes, and kubeadm's configuration."""
    files = "cd /etc/kubernetes && find . -type f -exec stat -c '%n %a %u %g' {} + -exec sha256sum {} + | sort"
    return plane.run(files, root=True).stdout + kubectl(plane, "get", *CONFIGURATION, "--output=jsonpath={.data}")


def read(machine: Machine, path: str) -> str:
    """A file of root's."""
    return machine.run(["cat", path], root=True).stdout
