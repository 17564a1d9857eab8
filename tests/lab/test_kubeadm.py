"""kubeadm accepts the exported ClusterConfiguration."""

import subprocess
from pathlib import Path

from components.kubernetes import kubeadm
from tools.kubeadm import ensure_kubeadm


def test_kubeadm_accepts_the_exported_cluster_configuration(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(kubeadm.cluster_configuration([f"https://10.0.0.{n}:2379" for n in (11, 12, 13)]))
    command = [str(ensure_kubeadm()), "config", "validate", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "ok" in done.stdout


def test_kubeadm_refuses_a_misspelt_field(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(kubeadm.cluster_configuration(["https://10.0.0.11:2379"]).replace("caFile", "caFiles"))
    command = [str(ensure_kubeadm()), "config", "validate", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
