"""The outputs for Prometheus: promtool accepts the configuration, and a member has the same labels in every form."""

import grp
import json
import os
import re
import subprocess
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kubernetes import cluster_api
from components.monitoring import prometheus, prometheus_operator, rules
from stacks.keys import table
from stacks.platforms import PLATFORMS
from tests.support.stacks import REPO
from tools.prometheus import ensure_prometheus

MEMBERS = {"etcd-1": "10.0.0.11", "1e3": "fd00::12"}
CLIENT = {"certificate": "CERTIFICATE", "private_key": "KEY"}
PEM = {"certificate": "CERTIFICATE\n", "private_key": "KEY\n"}
FOLDER = "/etc/prometheus/etcd/prod"


def scrape(cluster: str = "prod", *, tls: bool = True) -> dict[str, Any]:
    """The job of the members."""
    return dict(jobs(cluster, tls=tls)[0])


def jobs(cluster: str = "prod", *, tls: bool) -> list[dict[str, Any]]:
    return list(yaml.safe_load(prometheus.scrape_configuration(cluster, MEMBERS, tls=tls))["scrape_configs"])


def objects(cluster: str = "prod", client: Mapping[str, str] | None = CLIENT) -> dict[str, dict[str, Any]]:
    found = prometheus_operator.objects(
        cluster,
        MEMBERS,
        namespace="watch",
        labels={"release": "stack"},
        rules=rules.groups(cluster),
        client=client,
        ca_certificate="CA",
    )
    return {each["kind"]: each for each in json.loads(cluster_api.text(*found))["items"]}


@pytest.mark.parametrize(
    ("tls", "ports"), [(True, {"etcd-prod": 2379}), (False, {"etcd-prod": 2381, "machines-prod": 2382})]
)
def test_each_member_is_a_target_with_its_name_and_its_clusters(tls: bool, ports: dict[str, int]) -> None:
    found = jobs(tls=tls)
    assert [each["job_name"] for each in found] == list(ports)
    # The series of the machines have these labels themselves.
    assert [each.get("honor_labels", False) for each in found] == [False, True][: len(ports)]
    for each in found:
        port = ports[each["job_name"]]
        # Etcd's own rules take each job with `etcd` in its name for a cluster.
        own = {"job": "machines"} if port == 2382 else {}
        assert each["static_configs"] == [
            {"targets": [f"10.0.0.11:{port}"], "labels": {**own, "cluster": "prod", "member": "etcd-1"}},
            {"targets": [f"[fd00::12]:{port}"], "labels": {**own, "cluster": "prod", "member": "1e3"}},
        ]


def test_the_files_are_those_that_the_configuration_names() -> None:
    text = prometheus.scrape_configuration("prod", MEMBERS, tls=True)
    files = prometheus.files("prod", text, "groups: []", CLIENT, "CA")
    assert files.pop(f"{FOLDER}/rules.yml") == "groups: []"
    assert files.pop(f"{FOLDER}/scrape.yml") == text
    assert scrape()["scheme"] == "https"
    named = [scrape()["tls_config"][f"{name}_file"] for name in ("ca", "cert", "key")]
    assert [files.pop(path) for path in named] == ["CA", "CERTIFICATE", "KEY"]
    assert not files


def test_the_script_writes_the_files_for_prometheus_only(tmp_path: Path) -> None:
    text = prometheus.scrape_configuration("prod", MEMBERS, tls=True)
    files = prometheus.files("prod", text, rules.text(rules.groups("prod")), PEM, "CA\n")
    group = grp.getgrgid(os.getegid()).gr_name
    text = prometheus.script(files).replace("/etc/prometheus", str(tmp_path))
    text = text.replace("chgrp prometheus", f"chgrp {group}")
    for _ in ("new", "again"):
        subprocess.run(["sh"], input=text, text=True, timeout=10, check=True)
        found = {path: tmp_path / path.removeprefix("/etc/prometheus/") for path in files}
        for path, file in found.items():
            assert file.read_text() == files[path].replace("/etc/prometheus", str(tmp_path))
            assert file.stat().st_mode & 0o777 == 0o640


def test_the_script_changes_nothing_without_the_group(tmp_path: Path) -> None:
    text = prometheus.script({f"{FOLDER}/client.key": "KEY"}).replace("/etc/prometheus", str(tmp_path))
    text = text.replace("chgrp prometheus", "chgrp no-such-group")
    done = subprocess.run(["sh"], input=text, text=True, timeout=10, check=False, capture_output=True)
    assert done.returncode != 0
    assert "invalid group" in done.stderr
    assert not list(tmp_path.rglob("client.key"))


def test_without_a_certificate_there_is_only_the_configuration() -> None:
    assert list(prometheus.files("prod", "text", "", None, "CA")) == [f"{FOLDER}/scrape.yml", f"{FOLDER}/rules.yml"]
    assert not {"scheme", "tls_config"} & scrape(tls=False).keys()
    found = objects(client=None)
    assert list(found) == ["Service", "Endpoints", "ServiceMonitor", "PrometheusRule"]
    endpoints = found["ServiceMonitor"]["spec"]["endpoints"]
    assert not any({"scheme", "tlsConfig"} & each.keys() for each in endpoints)
    ports = {each["name"]: each["port"] for each in found["Endpoints"]["subsets"][0]["ports"]}
    assert [ports[each["port"]] for each in endpoints] == [2381, 2382]
    members, machines = endpoints
    assert machines["relabelings"] == [
        *members["relabelings"],
        {"targetLabel": "job", "replacement": "machines"},
    ]
    assert machines["honorLabels"]


@pytest.mark.parametrize("name", ["prod", "1", "null", "a" * 63])
def test_promtool_accepts_the_configuration(name: str, tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(prometheus.scrape_configuration(name, MEMBERS, tls=True))
    check = [str(ensure_prometheus() / "promtool"), "check", "config", "--syntax-only", str(file)]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert scrape(name)["static_configs"][0]["labels"]["cluster"] == name


def test_the_service_monitor_finds_the_service_and_the_secret() -> None:
    found = objects()
    assert {each["metadata"]["namespace"] for each in found.values()} == {"watch"}
    names = {kind: each["metadata"]["name"] for kind, each in found.items()}
    assert names == {
        "Service": "etcd-prod",
        "Endpoints": "etcd-prod",
        "Secret": "etcd-prod-client",
        "ServiceMonitor": "etcd-prod",
        "PrometheusRule": "etcd-prod",
    }
    monitor, service = found["ServiceMonitor"], found["Service"]
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert found[kind]["metadata"]["labels"].items() >= {"release": "stack"}.items()
    assert found["PrometheusRule"]["spec"] == {"groups": rules.groups("prod")}
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    (subset,), (endpoint,) = found["Endpoints"]["subsets"], monitor["spec"]["endpoints"]
    assert subset["ports"] == service["spec"]["ports"] == [{"name": endpoint["port"], "port": 2379, "protocol": "TCP"}]
    assert {each["hostname"]: each["ip"] for each in subset["addresses"]} == MEMBERS
    tls, data = endpoint["tlsConfig"], found["Secret"]["data"]
    selected = [tls["ca"]["secret"], tls["cert"]["secret"], tls["keySecret"]]
    assert {each["name"] for each in selected} == {names["Secret"]}
    assert [b64decode(data[each["key"]]).decode() for each in selected] == ["CA", "CERTIFICATE", "KEY"]


def test_a_long_name_of_a_cluster_is_cut_to_that_of_a_service() -> None:
    found = objects("a" * 57 + "-bcdef")
    assert found["Service"]["metadata"]["name"] == f"etcd-{'a' * 57}"
    (_, cluster) = found["ServiceMonitor"]["spec"]["endpoints"][0]["relabelings"]
    assert cluster == {"targetLabel": "cluster", "replacement": "a" * 57 + "-bcdef"}


def test_the_manual_names_outputs_and_keys_that_exist() -> None:
    manual = (REPO / "docs" / "monitoring.md").read_text()
    source = (REPO / "stacks" / "outputs.py").read_text()
    named = set(re.findall(r"(?:output |\| `)(prometheus(?:_\w+)?)\b", manual))
    assert len(named) == 5
    assert all(f'"{name}":' in source for name in named)
    keys = table(PLATFORMS).by_path
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(config:.*?)```", manual, re.DOTALL)]
    shown = [
        (name.removeprefix("external-etcd:"), value) for block in blocks for name, value in block["config"].items()
    ]
    assert len(shown) == 3
    for name, value in shown:
        below = value if isinstance(value, dict) else {}
        assert {name, *(f"{name}.{each}" for each in below)} <= keys.keys()
