"""What every platform has in common: the cluster's arguments from the configuration, and the stack's outputs."""

from typing import Any

import pulumi

from components import Authority, EtcdCluster, EtcdClusterArgs, Machine
from components.change import OUTPUT
from components.kubernetes import cluster_api

from .config import AuthorityConfig, StackConfig


def cluster_args(stack: StackConfig, machines: list[Machine]) -> EtcdClusterArgs:
    """The component's arguments as the configuration has them."""
    args: EtcdClusterArgs = {
        "members": machines,
        "cluster_name": stack.cluster_name,
        "version": stack.version,
        "quota": stack.quota,
        "flags": dict(stack.flags),
        "metrics": stack.metrics,
        "release_mirror": stack.release_mirror,
        "release_sha256": dict(stack.release_sha256),
        "certificates": {
            "validity_hours": stack.certificates.validity_hours,
            "early_renewal_hours": stack.certificates.early_renewal_hours,
            "ca_validity_hours": stack.certificates.ca_validity_hours,
        },
        "authorities": [_authority(authority) for authority in stack.authorities],
        "issuer": stack.issuer,
        "authentication": stack.authentication,
        "users": [{"name": user.name, "prefix": user.prefix, "permission": user.permission} for user in stack.users],
    }
    if stack.heartbeat_interval_ms is not None:
        args["heartbeat_interval_ms"] = stack.heartbeat_interval_ms
    if stack.election_timeout_ms is not None:
        args["election_timeout_ms"] = stack.election_timeout_ms
    if stack.previous is not None:
        args["previous"] = dict(stack.previous)
    if stack.override:
        args["override"] = stack.override
    return args


def _authority(given: AuthorityConfig) -> Authority:
    authority: Authority = {"name": given.name}
    if given.certificate is not None:
        authority["certificate"] = given.certificate
    if given.private_key is not None:
        authority["private_key"] = pulumi.Output.secret(given.private_key)
    return authority


def cluster_outputs(stack: StackConfig, cluster: EtcdCluster) -> dict[str, Any]:
    """The outputs of the stack that are the same wherever the machines are."""
    return {
        "endpoints": cluster.endpoints,
        "ca_cert": cluster.ca_certificate,
        "apiserver_etcd_client": cluster.apiserver_etcd_client,
        **({"users": cluster.users} if stack.users else {}),
        "kubeadm": cluster.kubeadm,
        "kubeadm_files": cluster.kubeadm_files,
        "cluster_api": _cluster_api(stack, cluster),
        "members": cluster.members,
        "certificates": cluster.certificates,
        "etcdctl": cluster.etcdctl,
        OUTPUT: cluster.applied,
    }


def _cluster_api(stack: StackConfig, cluster: EtcdCluster) -> pulumi.Output[str]:
    def render(parts: dict[str, Any]) -> str:
        client = parts["client"]
        return cluster_api.manifests(
            stack.cluster_api.cluster_name,
            stack.cluster_api.namespace,
            endpoints=parts["endpoints"],
            ca_certificate=parts["ca"],
            certificate=client["certificate"],
            private_key=client["private_key"],
        )

    values = pulumi.Output.all(
        endpoints=cluster.endpoints, ca=cluster.ca_certificate, client=cluster.apiserver_etcd_client
    )
    return pulumi.Output.secret(values.apply(render))
