"""What every platform has in common: the cluster's arguments from the configuration, and the stack's outputs."""

from collections.abc import Sequence
from typing import Any

import pulumi

from components import Authority, Bastion, EtcdCluster, EtcdClusterArgs, Machine, Ssh
from components.change import OUTPUT
from components.kubernetes import cluster_api
from components.plan.spec import DEFAULT_DATA_DIRECTORY

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
        "extra_names": list(stack.extra_names),
        "authentication": stack.authentication,
        "users": [{"name": user.name, "prefix": user.prefix, "permission": user.permission} for user in stack.users],
    }
    if stack.peer_authorities is not None:
        args["peer_authorities"] = [_authority(authority) for authority in stack.peer_authorities]
        args["peer_issuer"] = stack.peer_issuer
    if stack.heartbeat_interval_ms is not None:
        args["heartbeat_interval_ms"] = stack.heartbeat_interval_ms
    if stack.election_timeout_ms is not None:
        args["election_timeout_ms"] = stack.election_timeout_ms
    if stack.release_proxy is not None:
        args["release_proxy"] = stack.release_proxy
    if stack.release_headers:
        args["release_headers"] = {name: pulumi.Output.secret(text) for name, text in stack.release_headers.items()}
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
        "peer_ca_cert": cluster.peer_ca_certificate,
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


def machines_file(machines: Sequence[Machine]) -> pulumi.Output[dict[str, Any]]:
    """The machines as the key `machinesFile` of the platform `hosts` has them; their private keys are not among it.

    Args:
        machines: what a cloud has made.
    """
    entries = [
        {
            "name": machine["name"],
            "address": machine["address"],
            "dataDirectory": machine.get("data_directory", DEFAULT_DATA_DIRECTORY),
            "ssh": {**_way(machine["ssh"]), **({"bastion": _way(bastion)} if (bastion := _bastion(machine)) else {})},
        }
        for machine in machines
    ]
    return pulumi.Output.from_input({"machines": entries})


def _bastion(machine: Machine) -> Bastion | None:
    return machine["ssh"].get("bastion")


def _way(ssh: Ssh | Bastion) -> dict[str, Any]:
    return {
        "host": ssh["host"],
        "hostKey": pulumi.Output.from_input(ssh["host_key"]).apply(str.strip),
        "user": ssh.get("user", "root"),
        "port": int(ssh.get("port", 22)),
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
