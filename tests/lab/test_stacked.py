"""`lab kubernetes up --stacked`: kubeadm control planes with etcd beside each API server."""

import json
import subprocess
import sys

from lab import Machine, kubernetes
from tests.support.machines import Machines
from tests.support.stacks import REPO
from tests.support.versions import DEFAULT_ETCD

UP_SECONDS = 300


def kubectl(machine: Machine, *arguments: str) -> str:
    command = ["kubectl", f"--kubeconfig={kubernetes.ADMIN}", "--request-timeout=20s", *arguments]
    return machine.run(command, root=True).stdout


def etcdctl(machine: Machine, *arguments: str) -> str:
    """Run etcdctl in the static pod of this control plane's etcd, which its kubelet may not have registered yet."""
    pki = "/etc/kubernetes/pki/etcd"
    files = [f"--cacert={pki}/ca.crt", f"--cert={pki}/server.crt", f"--key={pki}/server.key"]
    pod = f"pod/etcd-{machine.name}"
    kubectl(machine, "--namespace=kube-system", "wait", "--for=create", pod, "--timeout=60s")
    return kubectl(machine, "--namespace=kube-system", "exec", pod, "--", "etcdctl", *files, *arguments)


def test_stacked_control_planes_have_an_etcd_member_each(machines: Machines) -> None:
    command = [sys.executable, "-m", "lab", "--dir", str(machines.lab.dir), "kubernetes", "up", "--stacked", "2"]
    try:
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=UP_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        print(done.stdout)
        planes = [machines.lab.machine(name) for name in ("control-1", "control-2")]
        assert all(map(kubernetes.stacked, planes))
        for plane in planes:
            ready = kubectl(plane, f"--server=https://{plane.address}:6443", "get", "--raw=/readyz?verbose")
            assert "[+]etcd ok" in ready
            assert "readyz check passed" in ready
        nodes = kubectl(planes[0], "get", "nodes", "--output=name").split()
        assert nodes == [f"node/{plane.name}" for plane in planes]
        members = json.loads(etcdctl(planes[0], "member", "list", "--write-out=json"))["members"]
        assert {row["name"] for row in members} == {plane.name for plane in planes}
        assert not any(row.get("isLearner") for row in members)
        status = etcdctl(planes[0], "endpoint", "status", "--cluster").splitlines()
        assert [line.split(", ")[2] for line in status] == [DEFAULT_ETCD] * 2
    finally:
        kubernetes.down(machines.lab)
