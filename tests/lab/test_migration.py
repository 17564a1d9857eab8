"""A stacked kubeadm cluster moves to external members, phase by phase, while a client uses its API server."""

import contextlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import Machine, kubernetes
from tests.support.etcd import PKI, assert_serves_all_members, process_ids
from tests.support.machines import Machines, right_clock, skew_clock
from tests.support.stacked import CONFIGURATION, MANIFESTS, Cluster, everything, kubectl, read, refusal, restarted
from tests.support.stacks import Stacks
from tools.kubeadm import VERSION

MEMBERS = 3
OWNER = "cluster.x-k8s.io/owner-kind"
ANOTHER_PATCH = "3.6.15"
_CLOSED = (
    "nft 'add table inet fw; add chain inet fw in {{ type filter hook input priority 0; }}; "
    "add rule inet fw in ip saddr {} tcp dport {{ {} }} {}'"
)


@contextlib.contextmanager
def closed(
    machine: Machine, ports: str, to: Machine, how: str = "reject with icmpx type admin-prohibited"
) -> Iterator[None]:
    """A firewall on a machine against another one, in this direction only."""
    machine.run(_CLOSED.format(to.address, ports, how), root=True)
    try:
        yield
    finally:
        machine.run("nft delete table inet fw", root=True)


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
    assert read(plane, "/etc/kubernetes/pki/etcd/ca.key").startswith("-----BEGIN RSA PRIVATE KEY-----")

    config = cluster.stack.config
    assert "no phase is complete yet" in refusal(cluster, "switch")
    all_of_them, config["machines"] = config["machines"], config["machines"][:2]
    assert "the members carry the load alone: at least 3, no fewer than control planes" in refusal(cluster)
    config["machines"] = all_of_them
    assert plane.run("ls /usr/local/sbin/etcd-node", root=True, check=False).returncode

    def edit(expression: str) -> None:
        """As a person would, outside of the kubelet's directory; it sees no other pod in the result."""
        copy = "/etc/kubernetes/edited"
        plane.run(f"cp -p {manifest} {copy} && sed -Ei '{expression}' {copy} && mv {copy} {manifest}", root=True)

    edit(f"s|{servers}|& # mine|")
    machine.run("mkdir -p /var/lib/etcd/member && touch /var/lib/etcd/member/mine", root=True)
    said = refusal(cluster)
    assert "has --etcd-servers in a form other than a line" in said
    assert "that this machine does not know as a member of test; it is untouched" in said
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


def test_a_member_that_must_not_join_is_refused_with_nothing_changed(cluster: Cluster) -> None:
    """By the control plane that cannot reach it, and by the machine of the first one."""
    plane, first = cluster.planes[0], cluster.machines[0]
    before, config = everything(plane), cluster.stack.config
    with closed(first, "2379", plane):
        said = refusal(cluster)
    assert f"{plane.name} cannot reach {first.name}:2379 (rejected: a firewall on {first.name}?); no member" in said
    with closed(plane, "2379, 2380", first):
        said = refusal(cluster)
    for port in (2379, 2380):
        rejected = f"{first.name} cannot reach {plane.name}:{port} (rejected: a firewall on {plane.name}?)"
        assert rejected in said
    with closed(first, "2380", plane, "drop"):
        said = refusal(cluster)
    unheard = f"{first.name} was not added to the cluster: {plane.name} cannot reach {first.name}:2380 (no connection"
    assert unheard in said

    for machine in cluster.machines:
        machine.run(f"cp -r /opt/etcd/v{kubernetes.ETCD} /opt/etcd/v{ANOTHER_PATCH}", root=True)
    config["version"] = ANOTHER_PATCH
    runs = (
        f"etcd {ANOTHER_PATCH}, the version of this stack ({plane.name} runs {kubernetes.ETCD}); {first.name} did not"
    )
    assert runs in refusal(cluster)
    del config["version"]
    skew_clock(first, 40)
    assert re.search(rf"is 4[01] s ahead of that of {plane.name}; {first.name} did not join", refusal(cluster))
    right_clock(first)

    # It has certificates already.
    pki = [f"--cacert={PKI}/ca.crt", f"--cert={PKI}/healthcheck-client.crt", f"--key={PKI}/healthcheck-client.key"]
    listed = [
        f"/opt/etcd/v{kubernetes.ETCD}/etcdctl",
        f"--endpoints=https://{plane.address}:2379",
        *pki,
        "member",
        "list",
    ]
    assert [line.split(", ")[2] for line in first.run(listed, root=True).stdout.splitlines()] == [plane.name]
    assert everything(plane) == before


def test_the_way_back_leaves_a_stacked_control_plane_as_it_was(cluster: Cluster) -> None:
    """From the switch to the phase before, then from that: the members leave, and their machines are free."""
    plane = cluster.planes[0]
    before = everything(plane)
    with cluster.used():
        cluster.phase("join")
    # A member that the API server cannot reach, but the other members can.
    with closed(cluster.machines[1], "2379", plane):
        assert "not every external member serves this control plane (etcd-2: " in refusal(cluster, "switch")
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
    before = everything(planes[0])
    skew_clock(planes[0], 40)
    planes[1].run("pkill -STOP -x etcd", root=True)
    # Both are asked, whichever answers first.
    said = refusal(cluster, "join", "--continue-on-error")
    assert re.search("control-1: its clock is 4[01] s ahead of that of control-[23]; nothing was changed", said)
    assert "control-2: its API server is not ready: " in said
    planes[1].run("pkill -CONT -x etcd", root=True)
    right_clock(planes[0])
    assert everything(planes[0]) == before

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

    running = process_ids(cluster.machines)
    with cluster.used():
        cluster.phase("done")
        again = cluster.phase("done")
    assert process_ids(cluster.machines) == running
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
    exported = kubectl(plane, "get", *CONFIGURATION, "--output=jsonpath={.data.ClusterConfiguration}")
    # `kubeadm init phase upload-certs` needs it for the files of external etcd.
    kubernetes.write(plane, kubernetes.CONFIGURATION, kubernetes.whole_configuration(exported, plane.address))
    # The plan waits for a Job, which no node runs.
    with ThreadPoolExecutor() as pool:
        planned = pool.submit(plane.run, plan, root=True, timeout=180)
        *_, fourth = kubernetes.up_stacked(machines.lab, [f"control-{n}" for n in (1, 2, 3, 4)])
        print(upgrade := planned.result().stdout)
    assert not re.search(r"^etcd .*v?3\.\d", upgrade, re.MULTILINE)
    assert "etcd.yaml" not in fourth.run(f"ls {MANIFESTS}", root=True).stdout
    manifest = read(plane, f"{MANIFESTS}/kube-apiserver.yaml")
    servers = re.search(r"--etcd-servers=.*", manifest)
    assert servers is not None
    assert servers[0] in read(fourth, f"{MANIFESTS}/kube-apiserver.yaml")
    ready = kubectl(fourth, f"--server=https://{fourth.address}:6443", "get", "--raw=/readyz?verbose")
    assert "[+]etcd ok" in ready
    assert cluster.names() == {machine.name for machine in cluster.machines}
