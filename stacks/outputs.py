"""Common to all platforms: the cluster's arguments from the configuration, and the stack's outputs."""

from collections.abc import Sequence
from typing import Any

import pulumi

from components import Bastion, EtcdCluster, EtcdClusterArgs, Machine, Ssh
from components.guard import OUTPUT
from components.kubernetes import cluster_api, kubeadm
from components.monitoring import dashboard, prometheus, prometheus_operator, rules
from components.pki import EARLY_RENEWAL_HOURS
from components.plan.migration import BACK
from components.plan.spec import DEFAULT_DATA_DIRECTORY

from .arguments import with_secrets
from .config import ClusterApiConfig, StackConfig
from .migration import with_logins


def cluster_args(stack: StackConfig, machines: list[Machine]) -> EtcdClusterArgs:
    """The arguments of `EtcdCluster` from the configuration."""
    args: EtcdClusterArgs = {
        **with_secrets(stack.arguments, stack.table),
        "members": machines,
        "cluster_name": stack.cluster_name,
    }
    return with_logins(args, stack.control_planes)


def cluster_outputs(stack: StackConfig, cluster: EtcdCluster) -> dict[str, Any]:
    """The stack's outputs that all platforms have; none on the way back from a migration."""
    if stack.plan.phase == BACK:
        return {}
    return {
        "endpoints": cluster.endpoints,
        "ca_cert": cluster.ca_certificate,
        "peer_ca_cert": cluster.peer_ca_certificate,
        "apiserver_etcd_client": cluster.apiserver_etcd_client,
        **({"users": cluster.users} if stack.plan.users else {}),
        **({"backup": cluster.backup} if stack.plan.backup else {}),
        **({"drift": cluster.drift} if stack.plan.drift_check else {}),
        "kubeadm": cluster.kubeadm,
        "kubeadm_files": cluster.kubeadm_files,
        "kubeadm_script": cluster.kubeadm_files.apply(kubeadm.script),
        "kubeadm_cloud_init": cluster.kubeadm_files.apply(kubeadm.cloud_init),
        **_cluster_api(stack.cluster_api, cluster),
        **(_prometheus(stack, cluster) if stack.plan.prometheus else {}),
        "members": cluster.members,
        "certificates": cluster.certificates,
        "etcdctl": cluster.etcdctl,
        OUTPUT: cluster.applied,
    }


def machines_file(machines: Sequence[Machine]) -> pulumi.Output[dict[str, Any]]:
    """The machines of a cloud in the format of `machinesFile` of the platform `hosts`, without private keys."""
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


def _cluster_api(workload: ClusterApiConfig, cluster: EtcdCluster) -> dict[str, pulumi.Output[str]]:
    def secrets(parts: dict[str, Any]) -> str:
        client = parts["client"]
        found = cluster_api.secrets(
            workload.cluster_name,
            workload.namespace,
            ca_certificate=parts["ca"],
            certificate=client["certificate"],
            private_key=client["private_key"],
        )
        return cluster_api.text(*found)

    def control_plane(endpoints: list[str]) -> str:
        part = cluster_api.control_plane(workload.cluster_name, workload.namespace, endpoints, workload.api_version)
        return cluster_api.text(part)

    parts = pulumi.Output.all(ca=cluster.ca_certificate, client=cluster.apiserver_etcd_client)
    return {
        "cluster_api": pulumi.Output.secret(parts.apply(secrets)),
        "cluster_api_control_plane": cluster.endpoints.apply(control_plane),
    }


def _prometheus(
    stack: StackConfig, cluster: EtcdCluster
) -> dict[str, pulumi.Output[str] | pulumi.Output[dict[str, str]]]:
    name, operator, tls = stack.cluster_name, stack.prometheus_operator, stack.plan.prometheus_certificate
    renewal = stack.arguments.get("certificates", {}).get("early_renewal_hours", EARLY_RENEWAL_HOURS)
    groups = rules.groups(name, renewal_hours=int(renewal))

    def files(parts: dict[str, Any]) -> dict[str, str]:
        return prometheus.files(name, parts["text"], rules.text(groups), parts["client"], parts["ca"])

    def objects(parts: dict[str, Any]) -> str:
        found = prometheus_operator.objects(
            name,
            parts["members"],
            namespace=operator.namespace,
            labels=operator.labels,
            rules=groups,
            client=parts["client"],
            ca_certificate=parts["ca"],
        )
        return cluster_api.text(*found)

    members = cluster.members.apply(lambda rows: {row["name"]: row["address"] for row in rows})
    text = members.apply(lambda known: prometheus.scrape_configuration(name, known, tls=tls))
    parts = pulumi.Output.all(members=members, text=text, ca=cluster.ca_certificate, client=cluster.prometheus_client)
    written = parts.apply(files)
    return {
        "prometheus": text,
        "prometheus_files": written,
        "prometheus_script": written.apply(prometheus.script),
        "prometheus_operator": parts.apply(objects),
        "prometheus_rules": pulumi.Output.from_input(rules.text(groups)),
        "grafana_dashboard": pulumi.Output.from_input(dashboard.text()),
    }
