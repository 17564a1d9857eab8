"""What Cluster API reads in the management cluster. Objects are plain data; `text` makes them what kubectl reads."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from ..plan.kubernetes import check_workload_name
from . import external_etcd

Document = dict[str, Any]
"""A Kubernetes object, or the part of one that is merged into it."""

API_VERSIONS = ("v1beta2", "v1beta1")
"""The versions of Cluster API's KubeadmControlPlane in which the patch can be written. The first is the default."""
_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io"


def text(*documents: Document) -> str:
    """One object, or a List of several, as JSON for `kubectl apply`, `kubectl patch` and kustomize."""
    one = documents[0] if len(documents) == 1 else {"apiVersion": "v1", "kind": "List", "items": documents}
    return json.dumps(one, indent=2) + "\n"


def secrets(
    cluster_name: str, namespace: str, *, ca_certificate: str, certificate: str, private_key: str
) -> list[Document]:
    """The Secrets `<cluster>-etcd` (without the CA's key) and `<cluster>-apiserver-etcd-client`.

    They must exist before the Cluster is created. Without them its control plane never starts.

    Args:
        cluster_name: name of the workload cluster's `Cluster` object.
        namespace: its namespace in the management cluster.
        ca_certificate: etcd's CA certificate, PEM.
        certificate: the API server's client certificate, PEM.
        private_key: its private key, PEM.

    Raises:
        ValueError: Secrets, machines and load balancers cannot be named after this cluster.
    """
    client = {"tls.crt": certificate, "tls.key": private_key}
    return [
        _secret(cluster_name, namespace, "etcd", {"tls.crt": ca_certificate}),
        _secret(cluster_name, namespace, "apiserver-etcd-client", client),
    ]


def control_plane(
    cluster_name: str, namespace: str, endpoints: Sequence[str], api_version: str = API_VERSIONS[0]
) -> Document:
    """The part of a KubeadmControlPlane that makes it use the external etcd. It contains no secret.

    Cluster API refuses a later change between local and external etcd, so it must be merged before creation.

    Args:
        cluster_name: name of the workload cluster's `Cluster` object.
        namespace: its namespace in the management cluster.
        endpoints: client URLs of all members.
        api_version: one of `API_VERSIONS`. The fields are the same in both.

    Raises:
        ValueError: there is no endpoint, one is not https, or the cluster's name is refused as by `secrets`.
    """
    # Templates with local settings exist, and both together are refused. In a merge, null removes them.
    etcd = {"local": None, "external": external_etcd(endpoints)}
    return {
        "apiVersion": f"controlplane.cluster.x-k8s.io/{api_version}",
        "kind": "KubeadmControlPlane",
        # Its name in the templates of clusterctl.
        "metadata": _metadata(cluster_name, "-control-plane", namespace),
        "spec": {"kubeadmConfigSpec": {"clusterConfiguration": {"etcd": etcd}}},
    }


def aws_cluster(
    cluster_name: str, namespace: str, *, vpc_id: str, subnet_ids: Sequence[str], clients_group_id: str, public: bool
) -> list[Document]:
    """Parts of an AWSCluster and its control plane's AWSMachineTemplate (Cluster API's provider for AWS, v2).

    They put the cluster into etcd's VPC and let the control plane reach etcd. Merge them before creation.

    Args:
        cluster_name: name of the workload cluster's `Cluster` object.
        namespace: its namespace in the management cluster.
        clients_group_id: ID of the security group of etcd's clients.
        public: whether the subnets have a route to an internet gateway. The provider creates a machine in them only if
            it has a public address then.

    Raises:
        ValueError: the cluster's name is refused as by `secrets`.
    """
    network = {"vpc": {"id": vpc_id}, "subnets": [{"id": each} for each in subnet_ids]}
    machine = {"additionalSecurityGroups": [{"id": clients_group_id}], **({"publicIP": True} if public else {})}
    return [
        {
            "apiVersion": f"{_INFRASTRUCTURE}/v1beta2",
            "kind": "AWSCluster",
            "metadata": _metadata(cluster_name, "", namespace),
            "spec": {"network": network},
        },
        {
            "apiVersion": f"{_INFRASTRUCTURE}/v1beta2",
            "kind": "AWSMachineTemplate",
            "metadata": _metadata(cluster_name, "-control-plane", namespace),
            "spec": {"template": {"spec": machine}},
        },
    ]


def hetzner_cluster(
    cluster_name: str, namespace: str, *, network_range: str, subnet_range: str, zone: str
) -> list[Document]:
    """The part of a HetznerCluster (Syself's provider, 1.x) whose network is etcd's. Merge it before creation.

    That provider has no field for the ID of a network. It takes the one with the label `caph-cluster-<cluster>: owned`,
    if its only cloud subnet has this range, and creates a network if there is none.

    Args:
        cluster_name: name of the workload cluster's `Cluster` object.
        namespace: its namespace in the management cluster.

    Raises:
        ValueError: the cluster's name is refused as by `secrets`.
    """
    return [
        {
            "apiVersion": f"{_INFRASTRUCTURE}/v1beta1",
            "kind": "HetznerCluster",
            "metadata": _metadata(cluster_name, "", namespace),
            "spec": {
                "hcloudNetwork": {
                    "enabled": True,
                    "cidrBlock": network_range,
                    "subnetCidrBlock": subnet_range,
                    "networkZone": zone,
                }
            },
        }
    ]


def _metadata(cluster_name: str, suffix: str, namespace: str) -> dict[str, str]:
    for problem in check_workload_name(cluster_name, "cluster_name"):
        raise ValueError(str(problem))
    return {"name": f"{cluster_name}{suffix}", "namespace": namespace}


def _secret(cluster_name: str, namespace: str, purpose: str, contents: Mapping[str, str]) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            **_metadata(cluster_name, f"-{purpose}", namespace),
            "labels": {"cluster.x-k8s.io/cluster-name": cluster_name},
        },
        # Not kubernetes.io/tls: the API server refuses that type without a tls.key.
        "type": "cluster.x-k8s.io/secret",
        # Not stringData, which is only written: a server-side apply could not remove or compare it.
        "data": {name: b64encode(pem.encode()).decode() for name, pem in contents.items()},
    }
