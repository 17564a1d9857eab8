"""The outputs for kubeadm and Cluster API."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.kubernetes import cluster_api, kubeadm
from tools.kubeadm import ensure_kubeadm

ENDPOINTS = ["https://10.0.0.11:2379", "https://10.0.0.12:2379", "https://[fd00::13]:2379"]
CA = "-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIFICATE-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nY2xpZW50\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN EC PRIVATE KEY-----\na2V5\n-----END EC PRIVATE KEY-----\n"
EXTERNAL = {
    "endpoints": ENDPOINTS,
    "caFile": "/etc/kubernetes/pki/etcd/ca.crt",
    "certFile": "/etc/kubernetes/pki/apiserver-etcd-client.crt",
    "keyFile": "/etc/kubernetes/pki/apiserver-etcd-client.key",
}


def documents(cluster: str = "prod", namespace: str = "clusters", ca: str = CA) -> list[dict[str, Any]]:
    text = cluster_api.manifests(
        cluster, namespace, endpoints=ENDPOINTS, ca_certificate=ca, certificate=CERTIFICATE, private_key=KEY
    )
    return list(yaml.safe_load_all(text))


def test_the_cluster_configuration_has_endpoints_and_kubeadm_paths() -> None:
    assert yaml.safe_load(kubeadm.cluster_configuration(ENDPOINTS)) == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "etcd": {"external": EXTERNAL},
    }


def test_kubeadm_accepts_the_cluster_configuration(tmp_path: Path) -> None:
    file = tmp_path / "kubeadm.yaml"
    file.write_text(kubeadm.cluster_configuration(ENDPOINTS))
    answer = subprocess.run(
        [str(ensure_kubeadm()), "config", "validate", "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


def test_the_control_planes_files_match_its_configuration() -> None:
    files = kubeadm.files(CA, CERTIFICATE, KEY)
    assert files == {EXTERNAL["caFile"]: CA, EXTERNAL["certFile"]: CERTIFICATE, EXTERNAL["keyFile"]: KEY}


def test_the_secrets_have_cluster_apis_names_labels_and_keys() -> None:
    etcd, client, _ = documents()
    for secret, purpose in ((etcd, "etcd"), (client, "apiserver-etcd-client")):
        assert secret["kind"] == "Secret"
        assert secret["type"] == "cluster.x-k8s.io/secret"
        assert secret["metadata"] == {
            "name": f"prod-{purpose}",
            "namespace": "clusters",
            "labels": {"cluster.x-k8s.io/cluster-name": "prod"},
        }
    assert etcd["stringData"] == {"tls.crt": CA}
    assert client["stringData"] == {"tls.crt": CERTIFICATE, "tls.key": KEY}


def test_the_patch_makes_the_control_plane_use_the_external_etcd() -> None:
    patch = documents()[2]
    assert patch["kind"] == "KubeadmControlPlane"
    assert patch["apiVersion"] == "controlplane.cluster.x-k8s.io/v1beta2"
    assert patch["spec"] == {"kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"external": EXTERNAL}}}}


def test_the_patch_contains_no_key() -> None:
    assert "BEGIN" not in cluster_api.control_plane_patch("prod", "clusters", ENDPOINTS)


@pytest.mark.parametrize("name", ["1", "null", "yes", "1e3", "0x10"])
def test_ambiguous_yaml_names_stay_strings(name: str) -> None:
    for document in documents(name, name):
        assert document["metadata"]["namespace"] == name


def test_invalid_pem_is_not_embedded() -> None:
    with pytest.raises(ValueError, match="must be PEM") as refused:
        documents(ca="secret: true")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("endpoints", [[], ["http://10.0.0.1:2379"]])
def test_endpoints_without_tls_or_none_at_all_are_refused(endpoints: list[str]) -> None:
    with pytest.raises(ValueError, match="https"):
        kubeadm.cluster_configuration(endpoints)


@given(
    st.lists(st.text("ABCabc019+/=", min_size=1, max_size=64), min_size=1, max_size=9), st.sampled_from(["\n", "\r\n"])
)
def test_every_pem_survives_a_round_trip(lines: list[str], line_break: str) -> None:
    text = line_break.join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"])
    etcd = documents(ca=text)[0]
    assert etcd["stringData"]["tls.crt"].splitlines() == text.splitlines()
