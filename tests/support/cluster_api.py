"""A workload cluster of Cluster API on AWS: the objects of its manifests, and the outputs that are merged into them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from components.kubernetes import cluster_api

NAME = "production"
_AWS = "infrastructure.cluster.x-k8s.io"


def manifests(namespace: str, version: str) -> str:
    """As `clusterctl generate` prints them, but only with what the CRDs require. Etcd is local.

    Args:
        namespace: of the objects.
        version: of the KubeadmControlPlane.
    """
    kind, name = "AWSMachineTemplate", f"{NAME}-control-plane"
    template: dict[str, Any] = {"spec": {"infrastructureRef": {"apiGroup": _AWS, "kind": kind, "name": name}}}
    if version == "v1beta1":
        template = {"infrastructureRef": {"apiVersion": f"{_AWS}/v1beta2", "kind": kind, "name": name}}
    control_plane = {
        "replicas": 3,
        "version": "v1.36.3",
        "machineTemplate": template,
        "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"dataDir": "/var/lib/etcd"}}}},
    }
    found: list[tuple[str, str, str, dict[str, Any]]] = [
        (f"{_AWS}/v1beta2", "AWSCluster", NAME, {"region": "eu-central-1"}),
        (f"{_AWS}/v1beta2", kind, name, {"template": {"spec": {"instanceType": "t3.large"}}}),
        (f"controlplane.cluster.x-k8s.io/{version}", "KubeadmControlPlane", name, control_plane),
    ]
    made = (
        {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
        for api, kind, name, spec in found
    )
    return str(yaml.safe_dump_all(made))


def control_plane(namespace: str, endpoints: Sequence[str], version: str) -> str:
    """The output `cluster_api_control_plane`."""
    return cluster_api.text(cluster_api.control_plane(NAME, namespace, endpoints, version))


def infrastructure(namespace: str) -> str:
    """The output `cluster_api_infrastructure` of a stack on AWS."""
    made = cluster_api.aws_cluster(
        NAME,
        namespace,
        vpc_id="vpc-0123456789abcdef0",
        subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        clients_group_id="sg-0123456789abcdef0",
        public=True,
    )
    return cluster_api.text(*made)


def objects(output: str) -> list[dict[str, Any]]:
    """The objects in an output for Cluster API, or in what kubectl prints."""
    found = json.loads(output)
    return list(found.get("items", [found]))


def holds(found: Any, part: Any) -> bool:
    """Whether an object has everything that a part of it has; null in the part means that the object has it not."""
    if not isinstance(part, Mapping):
        return bool(found == part)
    absent = {name for name, value in part.items() if value is None}
    return not absent & found.keys() and all(holds(found.get(name), part[name]) for name in part.keys() - absent)
