"""etcd as static pods of a real kubelet: `serviceManager: kubelet`.

The core of what other files prove under systemd is proved here by the same test functions. All tests share their
machines and their cluster, in this order.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Machine, kubernetes
from tests.support.alerting import assert_prometheus_scrapes
from tests.support.etcd import PID, assert_no_drift, assert_serves_all_members, command_line, etcdctl, process_ids
from tests.support.machines import Machines, fill_disk, temporary_lab
from tests.support.prober import probed_up, probing
from tests.support.stacks import Stack, machine_config
from tests.support.static_pods import PodCluster, PodLab, PodMachines, PodStacks
from tests.support.waiting import every

from . import (
    test_authorities,
    test_backups,
    test_certificates,
    test_rolling_change,
    test_size,
    test_space,
    test_version_change,
    test_wiped_slot,
)

Cluster = tuple[list[Machine], Stack]
BEFORE = "3.5.35"
MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"
NODE = "/etc/kubernetes/kubelet.conf"
CONTAINERD = "/etc/containerd/config.toml"
VALUES = 40
"""Data of a growth, in MiB."""
QUOTA = 96 << 20


@pytest.fixture(scope="module")
def machines(machines: Machines) -> Iterator[PodMachines]:
    machines.lab.kill(*machines.lab.machines)
    with temporary_lab("kubelets", PodLab) as lab:
        yield PodMachines(lab)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> PodStacks:
    return PodStacks(tmp_path_factory.mktemp("stacks"))


@pytest.fixture(scope="module")
def bootstrapped(machines: PodMachines, stacks: PodStacks) -> PodCluster:
    return PodCluster(machines, stacks)


@pytest.fixture(scope="module")
def cluster(machines: PodMachines, stacks: PodStacks) -> Cluster:
    found = machines.fresh()
    return found, stacks.new(found, version=BEFORE)


def pods(machines: list[Machine]) -> dict[str, str]:
    """Member -> pid and start of etcd in its pod; empty if it does not run."""
    look = "pid=$(pgrep -f '^/usr/local/bin/etcd ') && cut -d ' ' -f 1,22 /proc/$pid/stat"
    return {machine.name: machine.run(look, root=True, check=False).stdout for machine in machines}


def inode(machine: Machine) -> str:
    """Identity of the data directory."""
    return machine.run("stat -c %i:%w /var/lib/etcd/member", root=True).stdout


def wait_until_healthy(machine: Machine) -> None:
    for _ in every(0.2, seconds=60):
        if etcdctl(machine, "get", "written", check=False):
            return
    raise AssertionError(f"{machine.name} is not healthy")


def check_expiration(machine: Machine, directory: str = "/etc/kubernetes/pki") -> tuple[set[str], set[str]]:
    """The certificates that `kubeadm certs check-expiration` finds on a machine, and those that it misses."""
    said = machine.run(f"kubeadm certs check-expiration --cert-dir={directory}", root=True).stdout
    found = re.findall(r"^(\S+) +\w{3} \d\d, \d{4} ", said, re.MULTILINE)
    return set(found), set(re.findall(r"^!MISSING! (\S+)", said, re.MULTILINE))


def refused(stack: Stack, found: list[Machine], *said: str) -> None:
    """The update fails, says all of this, and starts nothing."""
    run = stack.up(check=False)
    assert run.code
    for text in said:
        assert text in run.text
    assert not any(pods(found).values())


def test_machines_that_cannot_run_static_pods_are_refused(cluster: Cluster, machines: PodMachines) -> None:
    found, stack = cluster
    kubelet = found[0].run("command -v kubelet", root=True).stdout.strip()
    found[0].run(f"mv {kubelet} /root", root=True)
    found[1].run("systemctl stop containerd", root=True)
    found[2].run(f"mkdir -p /etc/kubernetes && touch {NODE}", root=True)
    node = f"serves a Kubernetes cluster, or was set up for one ({NODE} exists)"
    refused(stack, found, "this machine has no kubelet", "this machine has no container runtime that runs", node)

    found[0].run(f"mv /root/kubelet {kubelet} && cp {CONTAINERD} /root && echo '[' >{CONTAINERD}", root=True)
    found[1].run("systemctl start containerd", root=True)
    found[2].run("rm -r /etc/kubernetes", root=True)
    machines.tampered_mirror({f"images/etcd-{BEFORE}.tar": b"another image"})
    refused(stack, found, "the cgroup driver of containerd cannot be told", "and the configuration says")
    for machine in found:
        machine.run("! test -e /etc/kubernetes", root=True)
    found[0].run(f"mv /root/config.toml {CONTAINERD}", root=True)
    machines.lab.mirror()


def test_static_pods_serve_and_come_back_without_pulumi(cluster: Cluster, machines: PodMachines) -> None:
    found, stack = cluster
    run = stack.up()
    print(f"three static pods: {run.seconds:.1f} s")
    assert_no_drift(found)
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
        modes = "stat -c %a:%U /var/lib/etcd /etc/kubernetes/pki/etcd/server.key /etc/kubernetes/manifests/etcd.yaml"
        assert machine.run(modes, root=True).stdout.split() == ["700:etcd", "600:etcd", "600:root"]
        assert_confined(machine)
    # Only where it finds a key of the CA does kubeadm list certificates that it has not all issued itself.
    files = "mkdir -p /run/pki/etcd && ln -s /etc/kubernetes/pki/etcd/* /run/pki/etcd && touch /run/pki/etcd/ca.key"
    found[0].run(files, root=True)
    known, _ = check_expiration(found[0], "/run/pki")
    assert known == {"etcd-ca", "etcd-healthcheck-client", "etcd-peer", "etcd-server"}
    found[0].run("rm -r /run/pki", root=True)

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


def assert_confined(machine: Machine) -> None:
    """The process has a user of its own, no capability, a seccomp filter, and writes to its data only."""
    status = f"grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp|Uid):' /proc/$({PID})/status"
    values = dict(line.split(":\t", 1) for line in machine.run(status, root=True).stdout.splitlines())
    assert {values[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert (values["NoNewPrivs"], values["Seccomp"]) == ("1", "2")
    user = machine.run("id -u etcd").stdout.strip()
    assert values["Uid"].split() == [user] * 4
    rows = [line.split() for line in machine.run(f"cat /proc/$({PID})/mountinfo", root=True).stdout.splitlines()]
    options = {row[4]: row[5].split(",")[0] for row in rows}
    assert options["/"] == "ro"
    system = ("/dev", "/proc", "/sys")
    writable = {place for place in options if options[place] == "rw" and not place.startswith(system)}
    # The kubelet's own file for the names of hosts belongs to root.
    assert writable == {"/etc/hosts", "/var/lib/etcd"}
    assert machine.run(f"stat -c %U:%a /proc/$({PID})/root/etc/hosts", root=True).stdout == "root:644\n"
    # Not even root writes there, through the view of the process.
    tried = machine.run(f"touch /proc/$({PID})/root/written", root=True, check=False)
    assert "Read-only file system" in tried.stderr


test_versions_change_by_one_minor_only = test_version_change.test_versions_change_by_one_minor_only
test_a_changed_setting_restarts_members = (
    test_rolling_change.test_a_changed_setting_restarts_members_in_order_without_losses
)
test_all_leaf_certificates_are_reissued = (
    test_certificates.test_all_leaf_certificates_are_reissued_without_restart_or_gap
)


def test_a_cluster_moves_to_systemd_and_back(cluster: Cluster, tmp_path: Path) -> None:
    found, stack = cluster
    chain = [machine.name for machine in found]
    data = [inode(machine) for machine in found]

    stack.config |= {"serviceManager": "systemd"}
    assert "etcd-2 restarts: kubelet -> systemd" in stack.preview().text
    _, probe = probed_up(stack, found, tmp_path, "From the kubelet to systemd")
    assert probe.downs == chain
    assert not any(pods(found).values())
    for machine in found:
        machine.run("systemctl is-active etcd && ! systemctl is-active kubelet", root=True)
        machine.run(f"! test -e {MANIFEST} && ! test -e /etc/kubernetes/pki/etcd", root=True)

    stack.config |= {"serviceManager": "kubelet"}
    assert "etcd-2 restarts: systemd -> kubelet" in stack.preview().text
    _, probe = probed_up(stack, found, tmp_path, "From systemd to the kubelet")
    assert probe.downs == chain
    assert all(pods(found).values())
    for machine in found:
        machine.run("! test -e /etc/systemd/system/etcd.service", root=True)
    assert [inode(machine) for machine in found] == data
    stack.up("--expect-no-changes")
    assert_no_drift(found)
    assert_serves_all_members(found)


def test_a_control_plane_of_kubeadm_starts_on_static_pods_and_joins_them(
    cluster: Cluster, machines: PodMachines, tmp_path: Path
) -> None:
    """The kubelet of a node is left alone until somebody takes the machine out of its cluster."""
    found, stack = cluster
    outputs = stack.outputs()
    (plane,) = kubernetes.up(machines.lab, outputs["kubeadm"], outputs["kubeadm_script"], ["etcd-4"])
    command = f"kubectl --kubeconfig={kubernetes.ADMIN} --request-timeout=20s get --raw='/readyz?verbose'"
    said = plane.run(command, root=True).stdout
    assert "[+]etcd ok" in said
    assert "readyz check passed" in said
    keys = etcdctl(found[0], "get", "/registry/minions/", "--prefix", "--keys-only")
    assert "/registry/minions/etcd-4" in keys.split()
    known, missing = check_expiration(plane)
    assert {"apiserver", "apiserver-kubelet-client", "ca", "front-proxy-ca"} <= known
    assert not missing
    assert not [name for name in known if "etcd" in name], "kubeadm does not watch over an external etcd"

    before, members = process_ids(found), list(stack.config["machines"])
    stack.config["machines"] = [*members[:2], machine_config(plane)]
    run = stack.up(check=False)
    assert f"serves a Kubernetes cluster, or was set up for one ({NODE} exists)" in run.text
    assert "kubeadm reset" in run.text
    assert process_ids(found) == before
    assert "[+]etcd ok" in plane.run(command, root=True).stdout
    # Otherwise the reset waits for the API server's watches to end.
    plane.run("systemctl stop kubelet; pkill -KILL kube-; kubeadm reset --force", root=True, timeout=120)
    stack.config["machines"] = members
    stack.up()
    assert process_ids(found) == before

    found += [plane, *machines.fresh(5)[4:]]
    test_size.fill(found[0], VALUES)
    test_size.grow(stack, found, 3, 5, tmp_path, values=VALUES)
    test_size.shrink(stack, found, 5, 3, tmp_path)
    for machine in found[3:]:
        machine.run(f"! test -e {MANIFEST} && ! systemctl is-active kubelet", root=True)
    del found[3:]
    test_wiped_slot.write_keys(found[0])


test_a_wiped_slot_rejoins_as_a_new_member = test_wiped_slot.test_a_wiped_slot_rejoins_as_a_new_member
test_a_killed_ca_rotation_is_completed = test_authorities.test_a_killed_ca_rotation_is_completed_by_the_next_updates


def test_a_member_without_a_manifest_is_started_by_the_next_run(cluster: Cluster, tmp_path: Path) -> None:
    """The run, and the program on the machine, are killed while the kubelet ends the pod."""
    found, stack = cluster
    before, (_, public) = process_ids(found), test_backups.new_key(tmp_path)
    backup = {"schedule": test_backups.NEVER, "recipients": [public], "directory": "/mnt/share"}
    stack.config |= {"quota": f"{QUOTA}", "backup": backup, "prometheus": True}
    with probing(stack, found, tmp_path, "Killed while a pod is replaced") as probe:
        running = stack.begin_up()
        try:
            running.until_said(f"{found[1].name}: restarts for")
            gone = f"while test -e {MANIFEST}; do sleep 0.01; done; pkill -KILL -f '[e]tcd-node --answer converge'"
            found[1].run(gone, root=True, timeout=60)
        finally:
            running.kill()
        probe.mark("killed")
        found[1].run(f"while {PID} | grep -qv '^0$'; do sleep 0.1; done; ! test -e {MANIFEST}", root=True, timeout=60)
        first = process_ids(found)
        assert first[found[2].name] == before[found[2].name]
        stack.up()
    after = process_ids(found)
    assert after[found[0].name] == first[found[0].name] != before[found[0].name]
    assert after[found[2].name] != before[found[2].name]
    assert_serves_all_members(found)
    for machine in found:
        assert f"--quota-backend-bytes={QUOTA}" in command_line(machine)


def test_commands_on_a_machine_work_beside_static_pods(cluster: Cluster, tmp_path: Path) -> None:
    found, stack = cluster
    before = process_ids(found)
    fill_disk(found[1], "/mnt/share", "64m")
    with probing(stack, found, tmp_path, "Commands on a machine"):
        found[1].run("etcd-node snapshot", root=True)
        for machine in (*found[1:], found[0]):
            assert " MiB -> " in machine.run("etcd-node defragment --now", root=True).stderr
    assert_prometheus_scrapes(stack, found)
    status = found[1].run("etcd-node status", root=True).stdout
    (name,) = found[1].run("ls /mnt/share", root=True).stdout.split()
    assert name in status
    with probing(stack, found, tmp_path, "A full database", gap=test_space.FULL_SECONDS):
        test_space.fill_up(found[2], 100, until="space exceeded")
        assert "run `etcd-node recover-space`" in found[0].run("etcd-node status", root=True).stdout
        assert re.search(r'alarms{.*"NOSPACE"} [1-9]', found[0].run("etcd-node metrics", root=True).stdout)
        found[0].run("etcd-node recover-space", root=True, timeout=120)
    assert etcdctl(found[0], "alarm", "list") == ""
    assert process_ids(found) == before, "nothing restarted"
    assert_serves_all_members(found)


def test_a_destroyed_static_pod_leaves_the_kubelet_as_it_was(cluster: Cluster) -> None:
    found, stack = cluster
    stack.destroy()
    assert not any(pods(found).values())
    left = "/etc/kubernetes /etc/etcd /opt/etcd /var/lib/etcd-node /etc/systemd/system/kubelet.service.d /var/lib/etcd"
    left += " /etc/systemd/system/etcd-metrics.* /run/etcd-node-metrics"
    for machine in found:
        assert machine.run(f"ls -d {left}", root=True, check=False).stdout == ""
        machine.run("! systemctl is-active kubelet && ! id etcd", root=True)
        assert machine.run("ctr -n k8s.io images ls -q | grep external-etcd", root=True, check=False).stdout == ""
        machine.run("ls -d /var/lib/etcd.test-retired-*", root=True)
