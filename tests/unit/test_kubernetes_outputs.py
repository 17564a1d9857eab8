"""What kubeadm reads: its configuration, and the three files in every form."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.kubernetes import kubeadm
from components.plan.errors import Problem
from components.plan.flags import check_flags
from components.plan.versions import MINORS, newest, parse
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
MODES = {EXTERNAL["caFile"]: 0o644, EXTERNAL["certFile"]: 0o644, EXTERNAL["keyFile"]: 0o600}


@pytest.mark.parametrize(
    ("version", "head"),
    [
        (None, {"apiVersion": "kubeadm.k8s.io/v1beta4"}),
        ("1.36", {"apiVersion": "kubeadm.k8s.io/v1beta4"}),
        ("1.36.3", {"apiVersion": "kubeadm.k8s.io/v1beta4", "kubernetesVersion": "v1.36.3"}),
        ("1.30.14", {"apiVersion": "kubeadm.k8s.io/v1beta3", "kubernetesVersion": "v1.30.14"}),
    ],
)
def test_the_cluster_configuration_has_endpoints_and_kubeadm_paths(version: str | None, head: dict[str, str]) -> None:
    assert yaml.safe_load(kubeadm.cluster_configuration(ENDPOINTS, version)) == {
        **head,
        "kind": "ClusterConfiguration",
        "etcd": {"external": EXTERNAL},
    }


def validated(configuration: str, directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory / "kubeadm.yaml"
    file.write_text(configuration)
    command = [str(ensure_kubeadm()), "config", "validate", "--config", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("version", [None, "1.36.3", "1.36", "1.30"])
def test_kubeadm_accepts_the_cluster_configuration(version: str | None, tmp_path: Path) -> None:
    answer = validated(kubeadm.cluster_configuration(ENDPOINTS, version), tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "ok" in answer.stdout


def test_kubeadm_refuses_a_misspelt_field(tmp_path: Path) -> None:
    misspelt = kubeadm.cluster_configuration(ENDPOINTS).replace("caFile", "caFiles")
    assert validated(misspelt, tmp_path).returncode != 0


@pytest.mark.parametrize("series", MINORS)
def test_http_is_on_the_endpoints_so_kubeadm_needs_no_others(series: str) -> None:
    version = parse(newest(series))
    assert version is not None
    problems: list[Problem] = check_flags(version, {"listen-client-http-urls": "https://10.0.0.11:2378"})
    assert len(problems) == 1
    assert "httpEndpoints" not in kubeadm.cluster_configuration(ENDPOINTS, "1.36.3")


def test_the_control_planes_files_match_its_configuration() -> None:
    files = kubeadm.files(CA, CERTIFICATE, KEY)
    assert files == {EXTERNAL["caFile"]: CA, EXTERNAL["certFile"]: CERTIFICATE, EXTERNAL["keyFile"]: KEY}


def test_cloud_init_writes_the_same_files_with_kubeadms_modes() -> None:
    files = kubeadm.files(CA, CERTIFICATE, KEY)
    data = kubeadm.cloud_init(files)
    assert data.startswith("#cloud-config\n")
    written = yaml.safe_load(data)["write_files"]
    assert {each["path"]: each["content"] for each in written} == files
    # A text, not a number: cloud-init takes a number in YAML for a decimal one.
    assert {each["path"]: int(each["permissions"], 8) for each in written} == MODES
    assert {each["owner"] for each in written} == {"root:root"}


def test_the_script_writes_the_same_files_with_kubeadms_modes(tmp_path: Path) -> None:
    odd = CERTIFICATE.replace("Y2xpZW50", "$HOME `id` \\n 'x'")
    files = kubeadm.files(CA, odd, KEY)
    text = kubeadm.script(files).replace("/etc/kubernetes", str(tmp_path / "kubernetes"))
    for _ in ("new", "again"):
        subprocess.run(["sh"], input=text, text=True, timeout=10, check=True)
        found = {path: tmp_path / path.removeprefix("/etc/") for path in files}
        assert {path: file.read_text() for path, file in found.items()} == files
        assert {path: file.stat().st_mode & 0o777 for path, file in found.items()} == MODES
        assert [each for each in tmp_path.rglob("*") if each.is_file()] != []
        assert not list(tmp_path.rglob("*.new"))
    assert (tmp_path / "kubernetes" / "pki" / "etcd").stat().st_mode & 0o777 == 0o755


def test_a_script_that_arrives_cut_off_writes_nothing(tmp_path: Path) -> None:
    text = kubeadm.script(kubeadm.files(CA, CERTIFICATE, KEY)).replace("/etc/kubernetes", str(tmp_path / "kubernetes"))
    for kept in range(text.index("main()"), len(text) - 2, 40):
        subprocess.run(["sh"], input=text[:kept], text=True, timeout=10, check=False, capture_output=True)
        assert list(tmp_path.iterdir()) == []


def test_a_line_that_would_end_a_file_early_is_refused() -> None:
    with pytest.raises(ValueError, match="must be PEM") as refused:
        kubeadm.script(kubeadm.files(CA, CERTIFICATE, "secret\nEND\nrm"))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("endpoints", [[], ["http://10.0.0.1:2379"]])
def test_endpoints_without_tls_or_none_at_all_are_refused(endpoints: list[str]) -> None:
    with pytest.raises(ValueError, match="https"):
        kubeadm.cluster_configuration(endpoints)


@given(st.lists(st.from_regex(r"https://[a-z0-9.\[\]:-]{1,40}", fullmatch=True), min_size=1, max_size=7))
def test_every_list_of_endpoints_survives_a_round_trip(endpoints: list[str]) -> None:
    assert yaml.safe_load(kubeadm.cluster_configuration(endpoints))["etcd"]["external"]["endpoints"] == endpoints


@given(st.lists(st.text("ABCabc019+/=", min_size=1, max_size=16), min_size=1, max_size=3))
def test_every_pem_survives_cloud_init(lines: list[str]) -> None:
    pem = "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----\n"])
    written = json.loads(kubeadm.cloud_init(kubeadm.files(CA, pem, KEY)).removeprefix("#cloud-config"))
    assert written["write_files"][1]["content"] == pem
