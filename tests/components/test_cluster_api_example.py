"""The example program that applies the outputs for Cluster API, and the manual's parts of programs.

With mocks and a stand-in for pulumi-kubernetes.
"""

import ast
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pulumi
import pulumi_command
import pytest

from components.kubernetes import cluster_api
from tests.support.manual import kubernetes_manual
from tests.support.recording import Recorder, record
from tests.support.stacks import REPO

EXAMPLE = REPO / "examples" / "cluster-api-aws"
ENDPOINTS = ["https://10.2.1.11:2379", "https://10.2.2.12:2379", "https://10.2.3.13:2379"]
SECRETS = cluster_api.secrets("prod", "clusters", ca_certificate="a", certificate="b", private_key="c")
CONTROL_PLANE = cluster_api.control_plane("prod", "clusters", ENDPOINTS)
CLUSTER, TEMPLATE = cluster_api.aws_cluster(
    "prod", "clusters", vpc_id="vpc-1", subnet_ids=["subnet-1"], clients_group_id="sg-1", public=True
)
CONFIG = {
    "etcd": "organization/external-etcd/production",
    "kubeconfig": "{}",
    "region": "eu-central-1",
    "sshKeyName": "key",
    "kubernetesVersion": "v1.36.3",
}


class _Secret(pulumi.CustomResource):
    def __init__(self, name: str, *, opts: pulumi.ResourceOptions | None = None, **given: Any) -> None:
        super().__init__("kubernetes:core/v1:Secret", name, given, opts)


class _Object(pulumi.CustomResource):
    def __init__(self, name: str, *, opts: pulumi.ResourceOptions, **given: Any) -> None:
        super().__init__(f"kubernetes:{given['api_version']}:{given['kind']}", name, given, opts)


class _Provider(pulumi.ProviderResource):
    def __init__(self, name: str, *, kubeconfig: pulumi.Input[str]) -> None:
        super().__init__("kubernetes", name, {"kubeconfig": kubeconfig})


OUTPUTS = {
    "cluster_api": cluster_api.text(*SECRETS),
    "cluster_api_control_plane": cluster_api.text(CONTROL_PLANE),
    "cluster_api_infrastructure": cluster_api.text(CLUSTER, TEMPLATE),
    "kubeadm_script": "main",
}


def stand_in() -> Any:
    """What has the names and keywords of pulumi-kubernetes."""
    module: Any = ModuleType("pulumi_kubernetes")
    module.Provider = _Provider
    module.core = SimpleNamespace(v1=SimpleNamespace(Secret=_Secret))
    module.apiextensions = SimpleNamespace(CustomResource=_Object)
    return module


def applied(monkeypatch: pytest.MonkeyPatch, **config: str) -> Recorder:
    """What the example registers."""
    monkeypatch.setitem(sys.modules, "pulumi_kubernetes", stand_in())

    def program() -> None:
        pulumi.runtime.set_all_config({f"external-etcd:{name}": value for name, value in (CONFIG | config).items()})
        runpy.run_path(str(EXAMPLE / "__main__.py"))

    try:
        return record(program, False, OUTPUTS)
    finally:
        pulumi.runtime.set_all_config({})


def test_it_creates_the_exported_secrets_first(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = applied(monkeypatch)
    for name, secret in zip(("etcd-ca", "etcd-client"), SECRETS, strict=True):
        given = recorder.named(name, "kubernetes:core/v1:Secret").inputs
        assert given == {key: secret[key] for key in ("metadata", "type", "data")}
    objects = [each for each in recorder.registrations if each.type.endswith(("Cluster", "Plane", "Template"))]
    assert len(objects) == 4
    assert all({"etcd-ca", "etcd-client"} <= each.depends_on for each in objects)


def test_its_objects_have_everything_of_the_exported_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = applied(monkeypatch, rolloutAfter="2026-11-29T10:00:00Z")
    for name, part in (("infrastructure", CLUSTER), ("machines", TEMPLATE), ("control-plane", CONTROL_PLANE)):
        given = recorder.named(name).inputs
        assert (given["api_version"], given["kind"]) == (part["apiVersion"], part["kind"])
        assert given["metadata"] == part["metadata"]
        assert contains(given["spec"], part["spec"]), given["spec"]
    assert recorder.named("control-plane").inputs["spec"]["rollout"] == {"after": "2026-11-29T10:00:00Z"}
    references = recorder.named("cluster").inputs["spec"]
    assert references["controlPlaneRef"]["name"] == CONTROL_PLANE["metadata"]["name"]
    assert references["infrastructureRef"]["name"] == CLUSTER["metadata"]["name"]


def contains(whole: Any, part: Any) -> bool:
    """Whether the whole has everything of the part, and nothing where the part has null."""
    if isinstance(part, dict):
        return all(name not in whole if each is None else contains(whole[name], each) for name, each in part.items())
    return bool(whole == part)


def test_it_needs_nothing_but_pulumi_and_its_kubernetes_package() -> None:
    tree = ast.parse((EXAMPLE / "__main__.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"pulumi", "pulumi_kubernetes"}
    assert {name.replace("_", "-") for name in imported} == set((EXAMPLE / "requirements.txt").read_text().split())


def test_the_manuals_parts_of_programs_create_the_secret_and_put_the_files_in_place(tmp_path: Path) -> None:
    secret = kubernetes_manual("Your own Pulumi program", 0, "python")
    files = kubernetes_manual("Your own Pulumi program", 1, "python")
    file = tmp_path / "program.py"
    file.write_text(f"{secret}\n{files}")

    def program() -> None:
        connection = pulumi_command.remote.ConnectionArgs(host="control-plane-1")
        names = {"pulumi": pulumi, "kubernetes": stand_in(), "command": pulumi_command, "connection": connection}
        runpy.run_path(str(file), names)

    recorder = record(program, False, OUTPUTS)
    given = recorder.named("etcd-ca", "kubernetes:core/v1:Secret").inputs
    assert given == {key: SECRETS[0][key] for key in ("metadata", "type", "data")}
    given = recorder.named("etcd-files", "command:remote:Command").inputs
    assert (given["create"], given["stdin"]) == ("sh", "main")
