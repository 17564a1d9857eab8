"""The platform `hosts`: machines that exist already, named in the configuration."""

from typing import Any

import pulumi

from components import Bastion, EtcdCluster, EtcdClusterArgs, Machine, Ssh
from components.kubernetes import cluster_api

from .config import MachineConfig, SshConfig, StackConfig


def build(stack: StackConfig) -> dict[str, Any]:
    """Makes the cluster on the configured machines; returns the stack's outputs by name."""
    cluster = EtcdCluster(stack.cluster_name, cluster_args(stack, [_machine(machine) for machine in stack.machines]))
    return {
        "endpoints": cluster.endpoints,
        "ca_cert": cluster.ca_certificate,
        "apiserver_etcd_client": cluster.apiserver_etcd_client,
        "kubeadm": cluster.kubeadm,
        "kubeadm_files": cluster.kubeadm_files,
        "cluster_api": _cluster_api(stack, cluster),
        "members": cluster.members,
        "certificates": cluster.certificates,
        "etcdctl": cluster.etcdctl,
    }


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
    }
    if stack.heartbeat_interval_ms is not None:
        args["heartbeat_interval_ms"] = stack.heartbeat_interval_ms
    if stack.election_timeout_ms is not None:
        args["election_timeout_ms"] = stack.election_timeout_ms
    if stack.authority is not None:
        args["authority"] = {
            "certificate": stack.authority.certificate,
            "private_key": pulumi.Output.secret(stack.authority.private_key),
        }
    return args


def _machine(machine: MachineConfig) -> Machine:
    return {
        "name": machine.name,
        "address": machine.address,
        "ssh": _ssh(machine.ssh),
        "identity": machine.identity,
        "data_directory": machine.data_directory,
    }


def _ssh(ssh: SshConfig) -> Ssh:
    way: Ssh = {
        "host": ssh.host,
        "port": ssh.port,
        "user": ssh.user,
        "host_key": ssh.host_key,
        "private_key": pulumi.Output.secret(ssh.private_key),
    }
    if ssh.bastion is not None:
        way["bastion"] = Bastion(
            host=ssh.bastion.host,
            port=ssh.bastion.port,
            user=ssh.bastion.user,
            host_key=ssh.bastion.host_key,
            private_key=pulumi.Output.secret(ssh.bastion.private_key),
        )
    return way


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
