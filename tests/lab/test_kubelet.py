"""etcd as static pods of a real kubelet: `serviceManager: kubelet`.

The tests share their machines and their cluster, in this order.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Machine, kubernetes
from tests.support.etcd import assert_serves_all_members, etcdctl, running_versions, served
from tests.support.machines import Machines
from tests.support.prober import probed_up
from tests.support.prometheus import assert_prometheus_scrapes
from tests.support.stacks import Stack, Stacks, machine_config
from tests.support.versions import DEFAULT_ETCD
from tests.support.waiting import every
from tools.download import sha256
from tools.kubernetes import ensure_member_image

BEFORE, AFTER = "3.5.35", "3.7.3"
MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"
PID = "pgrep -f '^/usr/local/bin/etcd '"


def image_of(version: str) -> str:
    """The value of `etcdImage` for the archive that the lab's mirror serves."""
    archive = ensure_member_image(version)
    return f"http://releases.lab/images/{archive.name}#sha256={sha256(archive)}"


def pods(machines: list[Machine]) -> dict[str, str]:
    """Member -> pid and start of etcd in its pod; empty if it does not run."""
    look = f"pid=$({PID}) && cut -d ' ' -f 1,22 /proc/$pid/stat"
    return {machine.name: machine.run(look, root=True, check=False).stdout for machine in machines}


def inode(machine: Machine) -> str:
    """Identity of the data directory."""
    return machine.run("stat -c %i:%w /var/lib/etcd/member", root=True).stdout


def wait_until_healthy(machine: Machine) -> None:
    for _ in every(0.2, seconds=60):
        if etcdctl(machine, "get", "written", check=False):
            return
    raise AssertionError(f"{machine.name} is not healthy")


@dataclass(frozen=True)
class Cluster:
    """Three members in static pods."""

    machines: list[Machine]
    stack: Stack
    images: dict[str, str]
    """Version -> value of `etcdImage`."""


@pytest.fixture(scope="module")
def cluster(machines: Machines, stacks: Stacks) -> Iterator[Cluster]:
    names = [f"pod-{n}" for n in range(1, 4)]
    found = kubernetes.up_kubelets(machines.lab, names)
    images = {version: image_of(version) for version in (BEFORE, DEFAULT_ETCD, AFTER)}
    machines.lab.mirror()
    stack = stacks.new(found, serviceManager="kubelet", version=BEFORE, etcdImage=images[BEFORE], prometheus=True)
    try:
        yield Cluster(found, stack, images)
    finally:
        machines.lab.remove(*(machine.name for machine in found))


def test_static_pods_serve_and_come_back_without_pulumi(cluster: Cluster, machines: Machines) -> None:
    found, stack = cluster.machines, cluster.stack
    node = "/etc/kubernetes/kubelet.conf"
    found[2].run(f"mkdir -p /etc/kubernetes && touch {node}", root=True)
    run = stack.up(check=False)
    assert run.code
    assert f"serves a Kubernetes cluster, or was set up for one ({node} exists)" in run.text
    assert not any(pods(found).values())
    found[2].run("rm -r /etc/kubernetes", root=True)

    run = stack.up()
    print(f"three static pods: {run.seconds:.1f} s")
    assert_serves_all_members(found)
    before = pods(found)
    assert all(before.values())
    for machine in found:
        text = machine.run(["cat", MANIFEST], root=True).stdout
        assert "component: etcd" in text
        assert "tier: control-plane" in text
        names = machine.run("ls /etc/kubernetes/pki/etcd/ && find / -xdev -name 'ca.key'", root=True).stdout.split()
        pairs = [f"{pair}.{kind}" for pair in ("healthcheck-client", "peer", "server") for kind in ("crt", "key")]
        assert sorted(names) == sorted(["ca.crt", "peer-ca.crt", *pairs])
        status = f"grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp|Uid):' /proc/$({PID})/status"
        values = dict(line.split(":\t", 1) for line in machine.run(status, root=True).stdout.splitlines())
        assert {values[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
        assert (values["NoNewPrivs"], values["Seccomp"]) == ("1", "2")
        user = machine.run("id -u etcd").stdout.strip()
        assert values["Uid"].split() == [user] * 4
        modes = "stat -c %a:%U /var/lib/etcd /etc/kubernetes/pki/etcd/server.key /etc/kubernetes/manifests/etcd.yaml"
        assert machine.run(modes, root=True).stdout.split() == ["700:etcd", "600:etcd", "600:root"]

    stack.up("--expect-no-changes")
    found[0].run("systemctl restart kubelet", root=True)
    assert pods(found) == before

    found[1].run(f"kill -9 $({PID})", root=True)
    machines.lab.kill(found[0].name)
    machines.lab.start(found[0].name)
    for machine in found[:2]:
        wait_until_healthy(machine)
    assert_serves_all_members(found)
    after = pods(found)
    assert after[found[2].name] == before[found[2].name]
    assert after[found[1].name] != before[found[1].name]


def test_changes_reach_static_pods_without_losses(cluster: Cluster, tmp_path: Path) -> None:
    found, stack = cluster.machines, cluster.stack
    chain = [machine.name for machine in found]

    stack.config["flags"] = {"max-txn-ops": "256"}
    _, probe = probed_up(stack, found, tmp_path, "A setting of static pods")
    assert probe.downs == chain
    for machine in found:
        assert "--max-txn-ops=256" in machine.run(f"tr '\\0' '\\n' </proc/$({PID})/cmdline", root=True).stdout

    for version in (DEFAULT_ETCD, AFTER):
        stack.config |= {"version": version, "etcdImage": cluster.images[version]}
        run, probe = probed_up(stack, found, tmp_path, f"An upgrade of static pods to {version}")
        assert running_versions(found) == [version] * 3
        # Before 3.7 a member restarts twice, the first time to write a snapshot.
        assert ("restarts for a snapshot first" in run.text) == (version == AFTER)
        assert [name for name, _ in itertools.groupby(probe.downs)] == chain

    before, presented = pods(found), [served(machine, 2379) for machine in found]
    stack.config["certificates"] = {"validityHours": 9000}
    probed_up(stack, found, tmp_path, "A renewal under static pods")
    assert pods(found) == before, "etcd reloads certificates"
    assert not set(presented) & {served(machine, 2379) for machine in found}


def test_a_cluster_moves_to_systemd_and_back(cluster: Cluster, tmp_path: Path) -> None:
    found, stack = cluster.machines, cluster.stack
    chain = [machine.name for machine in found]
    data = [inode(machine) for machine in found]
    image = stack.config["etcdImage"]

    stack.config |= {"serviceManager": "systemd"}
    del stack.config["etcdImage"]
    assert "pod-2 restarts: kubelet -> systemd" in stack.preview().text
    _, probe = probed_up(stack, found, tmp_path, "From the kubelet to systemd")
    assert probe.downs == chain
    assert not any(pods(found).values())
    for machine in found:
        machine.run("systemctl is-active etcd && ! systemctl is-active kubelet", root=True)
        machine.run(f"! test -e {MANIFEST} && ! test -e /etc/kubernetes/pki/etcd", root=True)

    stack.config |= {"serviceManager": "kubelet", "etcdImage": image}
    assert "pod-2 restarts: systemd -> kubelet" in stack.preview().text
    _, probe = probed_up(stack, found, tmp_path, "From systemd to the kubelet")
    assert probe.downs == chain
    assert all(pods(found).values())
    for machine in found:
        machine.run("! test -e /etc/systemd/system/etcd.service", root=True)
    assert [inode(machine) for machine in found] == data
    stack.up("--expect-no-changes")
    assert_serves_all_members(found)


def test_a_control_plane_of_kubeadm_starts_on_static_pods(cluster: Cluster, machines: Machines) -> None:
    outputs = cluster.stack.outputs()
    assert_prometheus_scrapes(cluster.stack, cluster.machines)
    try:
        (plane,) = kubernetes.up(machines.lab, outputs["kubeadm"], outputs["kubeadm_script"], ["control-1"])
        command = f"kubectl --kubeconfig={kubernetes.ADMIN} --request-timeout=20s get --raw='/readyz?verbose'"
        said = plane.run(command, root=True).stdout
        assert "[+]etcd ok" in said
        assert "readyz check passed" in said
        keys = etcdctl(cluster.machines[0], "get", "/registry/minions/", "--prefix", "--keys-only")
        assert "/registry/minions/control-1" in keys.split()
    finally:
        machines.lab.remove("control-1")


def test_static_pods_are_added_and_replaced(cluster: Cluster, machines: Machines, tmp_path: Path) -> None:
    found, stack = cluster.machines, cluster.stack
    before = pods(found)
    probed = list(found)
    found += kubernetes.up_kubelets(machines.lab, ["pod-4", "pod-5"])
    stack.config["machines"] = [machine_config(machine) for machine in found]
    probed_up(stack, probed, tmp_path, "Static pods grow to five")
    assert {name: pods(found)[name] for name in before} == before
    assert_serves_all_members(found)

    machines.lab.wipe(found[0].name)
    kubernetes.up_kubelets(machines.lab, [found[0].name])
    stack.config["machines"][0]["identity"] = "another"
    probed_up(stack, found[1:], tmp_path, "A wiped static pod")
    assert_serves_all_members(found)


def test_a_destroyed_static_pod_leaves_the_kubelet_as_it_was(cluster: Cluster) -> None:
    found, stack = cluster.machines, cluster.stack
    stack.destroy()
    assert not any(pods(found).values())
    left = "/etc/kubernetes /etc/etcd /opt/etcd /var/lib/etcd-node /etc/systemd/system/kubelet.service.d /var/lib/etcd"
    for machine in found:
        machine.run(f"! ls -d {left} && ! systemctl is-active kubelet && ! id etcd", root=True)
        assert machine.run("ctr -n k8s.io images ls -q | grep external-etcd", root=True, check=False).stdout == ""
        machine.run("ls -d /var/lib/etcd.test-retired-*", root=True)
