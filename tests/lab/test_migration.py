"""A stacked kubeadm cluster moves to external members, phase by phase, while a client uses its API server."""

import json
import re
from collections.abc import Iterator

import pytest

from lab import kubernetes
from tests.support.etcd import assert_serves_all_members, process_ids
from tests.support.machines import Machines
from tests.support.stacked import CONFIGURATION, MANIFESTS, Cluster, everything, kubectl, read, restarted
from tests.support.stacks import Stacks
from tools.kubeadm import VERSION

MEMBERS = 3
OWNER = "cluster.x-k8s.io/owner-kind"


@pytest.fixture(scope="module")
def cluster(machines: Machines, stacks: Stacks) -> Iterator[Cluster]:
    found = machines.fresh(MEMBERS)
    try:
        planes = kubernetes.up_stacked(machines.lab, ["control-1"])
        yield Cluster(found, planes, stacks.new(found))
    finally:
        kubernetes.down(machines.lab)


def test_what_cannot_be_migrated_is_refused_with_nothing_changed(cluster: Cluster) -> None:
    plane, machine = cluster.planes[0], cluster.machines[1]
    before, manifest, servers = everything(plane), f"{MANIFESTS}/kube-apiserver.yaml", "--etcd-servers=[^ ]*"

    def edit(expression: str) -> None:
        """As a person would, outside of the kubelet's directory; it sees no other pod in the result."""
        copy = "/etc/kubernetes/edited"
        plane.run(f"cp -p {manifest} {copy} && sed -Ei '{expression}' {copy} && mv {copy} {manifest}", root=True)

    edit(f"s|{servers}|& # mine|")
    machine.run("mkdir -p /var/lib/etcd/member && touch /var/lib/etcd/member/mine", root=True)
    refused = cluster.phase("join", check=False)
    assert refused.code
    assert "has --etcd-servers in a form other than a line" in refused.text
    assert "that this machine does not know as a member of test; it is untouched" in refused.text
    edit(f"s|({servers}) # mine|\\1|")
    machine.run("rm -r /var/lib/etcd/member", root=True)
    assert everything(plane) == before

    def inspected() -> str:
        """What the program says that the refused runs have installed."""
        given = {
            "format": 1,
            "cluster": "test",
            "plane": plane.name,
            "planes": {plane.name: plane.address},
            "members": {each.name: each.address for each in cluster.machines},
            "client_port": 2379,
            "peer_port": 2380,
            "phase": "join",
            "flags": {},
            "program": "",
        }
        return plane.run(["etcd-node", "inspect", json.dumps(given)], root=True, check=False).stderr

    assert "can be migrated" in inspected()
    kubectl(plane, "annotate", "node", plane.name, f"{OWNER}=KubeadmControlPlane")
    assert "Cluster API manages this machine (its owner is a KubeadmControlPlane)" in inspected()
    kubectl(plane, "annotate", "node", plane.name, f"{OWNER}-")
    there = [*CONFIGURATION, "--output=jsonpath={.data.ClusterConfiguration}"]
    text = kubectl(plane, "get", *there)

    def configured(content: str) -> None:
        kubectl(plane, "patch", *CONFIGURATION, "--patch", json.dumps({"data": {"ClusterConfiguration": content}}))

    configured(text.replace("  local:", "  somewhere:"))
    assert "is not in the form that kubeadm writes: etcd has somewhere" in inspected()
    configured(text)
    assert everything(plane) == before


def test_the_way_back_leaves_a_stacked_control_plane_as_it_was(cluster: Cluster) -> None:
    """From the switch to the phase before, then from that: the members leave, and their machines are free."""
    plane = cluster.planes[0]
    before = everything(plane)
    with cluster.used():
        cluster.phase("join")
    assert everything(plane) == before
    restarted(cluster, "switch")
    assert everything(plane) != before
    restarted(cluster, "join")
    assert everything(plane) == before
    refused = cluster.stack.destroy(check=False)
    assert refused.code
    assert "could lose its quorum without them; nothing was removed" in refused.text
    with cluster.used(moves=1):
        back = cluster.phase("back")
    assert "retire the machine of etcd-1" in back.text
    assert everything(plane) == before
    for machine in cluster.machines:
        assert machine.run("ls /etc/etcd", root=True, check=False).returncode
    cluster.stack.destroy()
    assert plane.run("ls /usr/local/sbin/etcd-node", root=True, check=False).returncode
    assert everything(plane) == before


def test_three_stacked_control_planes_move_to_three_members(cluster: Cluster, machines: Machines) -> None:
    """Each phase is killed once, and run again."""
    cluster.planes[:] = kubernetes.up_stacked(machines.lab, [f"control-{n}" for n in (1, 2, 3)])
    planes, ours = cluster.planes, {machine.name for machine in cluster.machines}
    manifests = [read(plane, f"{MANIFESTS}/kube-apiserver.yaml") for plane in planes]
    with cluster.used():
        cluster.phase("join", killed="etcd-2: joined as a learner")
    assert cluster.names() == {*ours, *(plane.name for plane in planes)}

    restarted(cluster, "switch", killed="control-2: its API server restarts")
    urls = ",".join(f"https://{machine.address}:2379" for machine in cluster.machines)
    for plane, manifest in zip(planes, manifests, strict=True):
        changed = manifest.replace("--etcd-servers=https://127.0.0.1:2379", f"--etcd-servers={urls}")
        assert read(plane, f"{MANIFESTS}/kube-apiserver.yaml") == changed != manifest

    with cluster.used(moves=1):
        cluster.phase("leave", killed="has left the cluster")
    assert cluster.names() == ours
    for plane in planes:
        there = plane.run(f"ls {MANIFESTS}", root=True).stdout.split()
        assert there == ["kube-apiserver.yaml", "kube-controller-manager.yaml", "kube-scheduler.yaml"]
        assert not plane.run("pgrep -x etcd", root=True, check=False).stdout
    configuration = everything(planes[0])
    assert "external:" in configuration
    assert "local:" not in configuration

    before = process_ids(cluster.machines)
    with cluster.used():
        cluster.phase("done")
        again = cluster.phase("done")
    assert process_ids(cluster.machines) == before
    assert re.search(r"Resources:\n +\d+ unchanged\n", again.text)
    assert_serves_all_members(cluster.machines)
    assert "PRIVATE KEY" not in json.dumps(cluster.stack.export())


def test_kubeadm_knows_only_the_external_etcd_afterwards(cluster: Cluster, machines: Machines) -> None:
    """It lists no certificates of etcd, plans no upgrade of it, and a further control plane joins without one."""
    plane = cluster.planes[0]
    expiry = plane.run(["kubeadm", "certs", "check-expiration"], root=True, timeout=120).stdout
    assert re.search(r"^apiserver ", expiry, re.MULTILINE)
    assert "etcd" not in expiry
    plan = ["kubeadm", "upgrade", "plan", f"v{VERSION}", "--ignore-preflight-errors=all"]
    print(upgrade := plane.run(plan, root=True, timeout=120).stdout)
    assert not re.search(r"^etcd .*v?3\.\d", upgrade, re.MULTILINE)

    exported = kubectl(plane, "get", *CONFIGURATION, "--output=jsonpath={.data.ClusterConfiguration}")
    # `kubeadm init phase upload-certs` needs it for the files of external etcd.
    kubernetes.write(plane, kubernetes.CONFIGURATION, kubernetes.whole_configuration(exported, plane.address))
    *_, fourth = kubernetes.up_stacked(machines.lab, [f"control-{n}" for n in (1, 2, 3, 4)])
    assert "etcd.yaml" not in fourth.run(f"ls {MANIFESTS}", root=True).stdout
    manifest = read(plane, f"{MANIFESTS}/kube-apiserver.yaml")
    servers = re.search(r"--etcd-servers=.*", manifest)
    assert servers is not None
    assert servers[0] in read(fourth, f"{MANIFESTS}/kube-apiserver.yaml")
    ready = kubectl(fourth, f"--server=https://{fourth.address}:6443", "get", "--raw=/readyz?verbose")
    assert "[+]etcd ok" in ready
    assert cluster.names() == {machine.name for machine in cluster.machines}
