"""A stacked kubeadm cluster moves to external members, phase by phase, while a client uses its API server."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab import Machine, kubernetes
from tests.support.api_client import using
from tests.support.etcd import assert_serves_all_members, member_list, process_ids
from tests.support.machines import Machines
from tests.support.stacks import Run, Stack, Stacks, machine_config
from tests.support.waiting import every

MEMBERS = 3
MANIFESTS = "/etc/kubernetes/manifests"
KEPT = "/etc/kubernetes/external-etcd"


@dataclass(frozen=True)
class Cluster:
    """Stacked control planes, and machines for external members."""

    machines: list[Machine]
    planes: list[Machine]
    stack: Stack

    def phase(self, name: str, *, check: bool = True) -> Run:
        """`pulumi up` with this phase."""
        planes = [machine_config(plane) for plane in self.planes]
        self.stack.config["migration"] = {"phase": name, "controlPlanes": planes}
        run = self.stack.up(check=check)
        print(run.text)
        return run

    def names(self) -> set[str]:
        """The members of the cluster, by the first external one."""
        listed = member_list(self.machines[0])
        assert not any(row.get("isLearner") for row in listed)
        return {row["name"] for row in listed}


@pytest.fixture(scope="module")
def cluster(machines: Machines, stacks: Stacks) -> Iterator[Cluster]:
    found = machines.fresh(MEMBERS)
    try:
        planes = kubernetes.up_stacked(machines.lab, ["control-1"])
        yield Cluster(found, planes, stacks.new(found))
    finally:
        kubernetes.down(machines.lab)


def kubectl(machine: Machine, *arguments: str) -> str:
    """Run kubectl as the administrator on a control plane."""
    command = ["kubectl", f"--kubeconfig={kubernetes.ADMIN}", "--request-timeout=20s", *arguments]
    return machine.run(command, root=True).stdout


def restarted(cluster: Cluster, phase: str) -> None:
    """A phase in which the only API server restarts, with a client that continues afterwards."""
    with using(read(cluster.planes[0], kubernetes.ADMIN)) as client:
        with client.restart():
            cluster.phase(phase)
        enough = len(client.acknowledged) + 20
        for _ in every(0.05, seconds=10):
            if len(client.acknowledged) >= enough:
                break


def everything(plane: Machine) -> str:
    """All files of Kubernetes on a control plane, with their modes, and kubeadm's configuration."""
    files = "cd /etc/kubernetes && find . -type f -exec stat -c '%n %a %u %g' {} + -exec sha256sum {} + | sort"
    configuration = ["--namespace=kube-system", "get", "configmap", "kubeadm-config", "--output=jsonpath={.data}"]
    return plane.run(files, root=True).stdout + kubectl(plane, *configuration)


def read(machine: Machine, path: str) -> str:
    """A file of root's."""
    return machine.run(["cat", path], root=True).stdout


def test_the_way_back_leaves_the_stacked_cluster_as_it_was(cluster: Cluster) -> None:
    """From the switch to the phase before, then from that: the members leave, and their machines are free."""
    plane = cluster.planes[0]
    kubeconfig = read(plane, kubernetes.ADMIN)
    before = everything(plane)
    with using(kubeconfig):
        cluster.phase("join")
    restarted(cluster, "switch")
    assert everything(plane) != before
    restarted(cluster, "join")
    assert everything(plane) == before
    refused = cluster.stack.destroy(check=False)
    assert refused.code
    assert "could lose its quorum without them; nothing was removed" in refused.text
    with using(kubeconfig):
        back = cluster.phase("back")
    assert "retire the machine of etcd-1" in back.text
    assert everything(plane) == before
    for machine in cluster.machines:
        assert machine.run("ls /etc/etcd", root=True, check=False).returncode
    cluster.stack.destroy()
    assert plane.run("ls /usr/local/sbin/etcd-node", root=True, check=False).returncode
    assert everything(plane) == before


def test_one_stacked_control_plane_moves_to_three_members(cluster: Cluster) -> None:
    plane, ours = cluster.planes[0], {machine.name for machine in cluster.machines}
    kubeconfig = read(plane, kubernetes.ADMIN)
    manifest = read(plane, f"{MANIFESTS}/kube-apiserver.yaml")
    with using(kubeconfig):
        cluster.phase("join")
    assert cluster.names() == {*ours, plane.name}
    assert read(plane, f"{MANIFESTS}/kube-apiserver.yaml") == manifest

    restarted(cluster, "switch")
    switched = read(plane, f"{MANIFESTS}/kube-apiserver.yaml")
    urls = ",".join(f"https://{machine.address}:2379" for machine in cluster.machines)
    assert switched == manifest.replace("--etcd-servers=https://127.0.0.1:2379", f"--etcd-servers={urls}")
    assert switched != manifest

    with using(kubeconfig):
        cluster.phase("leave")
    assert cluster.names() == ours
    assert plane.run(f"ls {MANIFESTS}", root=True).stdout.split() == [
        "kube-apiserver.yaml",
        "kube-controller-manager.yaml",
        "kube-scheduler.yaml",
    ]
    configuration = everything(plane)
    assert "external:" in configuration
    assert "local:" not in configuration

    before = process_ids(cluster.machines)
    with using(kubeconfig):
        cluster.phase("done")
        again = cluster.phase("done")
    assert process_ids(cluster.machines) == before
    assert "unchanged" in again.text
    assert_serves_all_members(cluster.machines)
