"""The kubelet as service manager: its configuration, refused machines, and the pod as a service."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from components.node.machine import pod_process
from components.node.service import kubelet, kubelet_host, manager, systemd, unit
from components.node.shared import paths
from components.node.shared.errors import NodeError

DUMP = '[plugins."x".runc.options]\n  SystemdCgroup = {}\n'


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with kubelet and containerd, whose places are below a folder."""
    for name in ("MANIFEST", "POD", "POD_LOG", "POD_START", "KUBERNETES_PKI", "BOOTSTRAP", "RUN"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower() / "file")
    monkeypatch.setattr(paths, "KUBELET_CONFIGURATION", tmp_path / "config.yaml")
    monkeypatch.setattr(paths, "KUBELET_DROP_IN", tmp_path / "drop-in.conf")
    monkeypatch.setattr(kubelet_host, "_OF_A_NODE", (tmp_path / "kubelet.conf",))
    monkeypatch.setattr(kubelet_host, "_SOCKET", tmp_path / "containerd.sock")
    monkeypatch.setattr("shutil.which", lambda name, **_: f"/usr/bin/{name}")
    monkeypatch.setattr(kubelet_host, "run", answering(DUMP.format("true")))
    with socket.socket(socket.AF_UNIX) as containerd:
        containerd.bind(str(tmp_path / "containerd.sock"))
        containerd.listen()
        yield tmp_path


def answering(
    dump: str, unit_state: str = "loaded", error: str = ""
) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(argv: list[str], _timeout: float, **_: object) -> subprocess.CompletedProcess[str]:
        if argv[0] == "containerd":
            return subprocess.CompletedProcess(argv, bool(error), dump, error)
        return subprocess.CompletedProcess(argv, 0, f"{unit_state}\n", "")

    return run


@pytest.mark.parametrize(("value", "driver"), [("true", "systemd"), ("false", "cgroupfs")])
def test_the_kubelet_uses_the_container_runtimes_cgroup_driver(
    machine: Path, monkeypatch: pytest.MonkeyPatch, value: str, driver: str
) -> None:
    monkeypatch.setattr(kubelet_host, "run", answering(DUMP.format(value)))
    kubelet_host.check()
    assert kubelet_host._cgroup_driver() == driver
    found = yaml.safe_load(kubelet_host.configuration(driver))
    assert found["cgroupDriver"] == driver
    assert found["address"] == "127.0.0.1"
    assert found["staticPodPath"] == str(machine / "manifest")
    assert found["authentication"] == {"anonymous": {"enabled": False}, "webhook": {"enabled": False}}


def test_a_machine_without_a_kubelet_is_refused(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: None if name == "kubelet" else f"/usr/bin/{name}")
    with pytest.raises(NodeError, match=r"no kubelet.*Install the package `kubelet`"):
        kubelet_host.check()


def test_a_kubelet_without_a_unit_is_refused(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubelet_host, "run", answering(DUMP.format("true"), "not-found"))
    with pytest.raises(NodeError, match=r"no kubelet as a service \(kubelet.service is not-found\)"):
        kubelet_host.check()


def test_a_machine_without_a_container_runtime_is_refused(machine: Path) -> None:
    (machine / "containerd.sock").unlink()
    with pytest.raises(NodeError, match=r"no container runtime that runs.*Install containerd"):
        kubelet_host.check()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(machine / "containerd.sock"))
    assert (machine / "containerd.sock").exists()
    with pytest.raises(NodeError, match=r"no container runtime that runs.*Install containerd"):
        kubelet_host.check()


def test_a_machine_with_another_container_runtime_is_refused(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "containerd.sock").unlink()
    (machine / "crio.sock").touch()
    monkeypatch.setattr(kubelet_host, "_CRIO", machine / "crio.sock")
    with pytest.raises(NodeError, match=r"is CRI-O.*Use a machine with containerd; or set `serviceManager` to systemd"):
        kubelet_host.check()


def test_a_link_that_leads_out_of_its_directory_is_refused(machine: Path) -> None:
    place = machine / "lists"
    (place / "..data").mkdir(parents=True)
    (place / "..data" / "crl").touch()
    (place / "within").symlink_to("..data/crl")
    (place / "out").symlink_to("../crl")
    (machine / "linked").symlink_to("lists")
    kubelet_host.check_files([str(place / "within"), str(machine / "linked" / "within")])
    with pytest.raises(NodeError, match=r"lists/out, which a flag of etcd names, leads to \S+/crl, out of"):
        kubelet_host.check_files([str(place / "out")])


def test_an_unknown_cgroup_driver_is_refused(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubelet_host, "run", answering("version = 2\n"))
    with pytest.raises(NodeError, match=r"cgroup driver of containerd cannot be told: .* names no SystemdCgroup"):
        kubelet_host.check()
    monkeypatch.setattr(kubelet_host, "run", answering("", error="line 1: what is this?"))
    with pytest.raises(NodeError, match=r"cgroup driver of containerd cannot be told: .* fails: line 1: what is this"):
        kubelet_host.check()


@pytest.mark.parametrize("name", ["kubelet.conf", "config.yaml", "drop-in.conf", "manifest/file", "manifest/api.yaml"])
def test_the_kubelet_of_a_kubernetes_cluster_is_left_alone(machine: Path, name: str) -> None:
    path = machine / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("of others\n")
    with pytest.raises(NodeError, match=r"serves a Kubernetes cluster.*kubeadm reset"):
        kubelet_host.check()


def test_certificates_of_others_are_refused(machine: Path) -> None:
    (machine / "kubernetes_pki" / "file").mkdir(parents=True)
    with pytest.raises(NodeError, match="holds certificates that this program did not write"):
        kubelet_host.check()


def test_what_this_program_wrote_is_accepted_again(machine: Path) -> None:
    paths.MANIFEST.parent.mkdir()
    for path in (paths.KUBELET_CONFIGURATION, paths.KUBELET_DROP_IN, paths.MANIFEST):
        path.write_text(f"{unit.MARK}; more\n")
    kubelet_host.check()


def test_a_pod_starts_without_a_log_only_while_that_is_permitted(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = machine / "data"
    monkeypatch.setattr(kubelet, "run", answering(""))
    for name in ("POD", "POD_LOG", "POD_START", "BOOTSTRAP"):
        monkeypatch.setattr(paths, name, machine / "state" / name)
    monkeypatch.setattr(paths, "RUN", machine / "run")
    (machine / "run").mkdir()
    (machine / "state").mkdir()
    text = f"    - {unit.BASE_FLAG}\n"
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_, **__: None)

    kubelet.install(text, str(data))
    assert manager.name() == "kubelet"
    assert not paths.POD_START.exists(), "there is no log"
    paths.BOOTSTRAP.write_text(unit.bootstrap({"a": "https://10.0.0.1:2380"}, token="x"))
    kubelet.start()
    assert paths.POD_START.exists()
    assert "--initial-cluster-state=new" in paths.MANIFEST.read_text()
    kubelet.forbid()
    assert not paths.POD_START.exists()
    (data / "member" / "wal").mkdir(parents=True)
    assert paths.POD_START.resolve() == data / "member" / "wal"
    paths.BOOTSTRAP.unlink()
    kubelet.start()
    assert "--initial-cluster-state=new" not in paths.MANIFEST.read_text()
    kubelet.uninstall()
    assert manager.name() == "systemd"


def test_a_log_of_the_pod_counts_its_restarts_and_tells_why_it_ended(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.MANIFEST.parent.mkdir()
    paths.MANIFEST.write_text("")
    logs = machine / "logs"
    monkeypatch.setattr(kubelet, "LOGS", f"{logs}/kube-system_etcd-*/etcd/*.log")
    # A lab on this computer may have pods.
    monkeypatch.setattr(pod_process, "find", lambda: 0)
    old, new = (logs / f"kube-system_etcd-node_{uid}" / "etcd" for uid in ("1", "2"))
    entry = json.dumps({"level": "fatal", "msg": "discovery failed", "error": "no cluster"})
    for place, count in ((old, 9), (new, 2)):
        place.mkdir(parents=True)
        for number in range(count + 1):
            (place / f"{number}.log").write_text(f"2026-01-01T00:00:00Z stderr F {entry}\n")
    os.utime(old, (1, 1))
    service = kubelet.show()
    assert (service.restarts, service.active, service.runs, service.has_job) == (2, "activating", False, True)
    assert "fatal: discovery failed (no cluster)" in kubelet.journal()


def test_a_stopped_pod_is_forgotten_before_the_next_one_is_published(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs is killed; so is one that a slow kubelet has started in its place."""
    paths.MANIFEST.parent.mkdir()
    paths.MANIFEST.touch()
    pod = machine / "pods" / "uid" / "containers" / "etcd"
    pod.mkdir(parents=True)
    alive, killed, looks = [7, 8], [], []

    def kill(pid: int) -> None:
        killed.append(pid)
        alive.remove(pid)

    def until(seconds: float, every: float) -> Iterator[float]:
        for number in range(int(seconds / every)):
            looks.append(number)
            if not alive and number == 80:
                pod.rmdir()
            yield seconds - number * every

    monkeypatch.setattr(kubelet, "_PODS", machine / "pods")
    monkeypatch.setattr(kubelet, "run", answering(""))
    monkeypatch.setattr(kubelet, "until", until)
    monkeypatch.setattr(systemd, "kill", kill)
    monkeypatch.setattr(pod_process, "find", lambda: alive[0] if alive else 0)
    kubelet.stop()
    assert not paths.MANIFEST.exists()
    assert killed == [7, 8]
    assert looks[-1] == 79 + 21, "2 s after its directory was seen"


def test_an_error_names_the_log_of_the_pod(machine: Path) -> None:
    text = "See `journalctl -u etcd` on the machine, or `systemctl start etcd`."
    assert manager.advice(text) == text
    paths.POD.parent.mkdir()
    paths.POD.touch()
    assert manager.advice(text) == (
        "See `tail /var/log/pods/kube-system_etcd-*/etcd/*.log` on the machine, or `systemctl start kubelet`."
    )


def test_the_process_in_a_pod_is_told_from_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = "import time; print('runs', flush=True); time.sleep(60)"
    argv = [paths.IMAGE_ETCD, "-c", program]
    environ = {pod_process.IMAGE: "x", pod_process.RELEASE: "3.6.16"}
    with (
        subprocess.Popen(argv, executable="/proc/self/exe", env=environ, stdout=subprocess.PIPE) as ours,
        subprocess.Popen(argv, executable="/proc/self/exe", env={}, stdout=subprocess.PIPE) as other,
    ):
        try:
            for each in (ours, other):
                assert each.stdout is not None
                each.stdout.readline()
            assert pod_process.is_etcd(ours.pid)
            assert not pod_process.is_etcd(other.pid)
            assert systemd.command_of(ours.pid) == ["/opt/etcd/v3.6.16/etcd", "-c", program]
            # A lab on this computer may have pods.
            monkeypatch.setattr(pod_process, "is_etcd", lambda pid: pid == ours.pid)
            assert pod_process.find() == ours.pid
        finally:
            ours.kill()
            other.kill()


def test_the_drop_in_runs_the_kubelet_alone() -> None:
    text = kubelet_host.drop_in("/usr/bin/kubelet")
    starts = re.findall(r"^ExecStart=(.*)", text, re.MULTILINE)
    assert starts == ["", "/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml"]
    assert "kubeconfig" not in text
