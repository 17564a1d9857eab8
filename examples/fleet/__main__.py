"""Several clusters in one program: one for each entry of `clusters` in its configuration, on existing machines.

pulumi config set --path 'clusters.blue.machines[0].name' etcd-1
pulumi config set --path 'clusters.blue.machines[0].address' 10.0.0.11
pulumi config set --path 'clusters.blue.machines[0].host_key' "$(ssh-keyscan -qt ed25519 10.0.0.11 | cut -d' ' -f2-)"
pulumi config set --path clusters.blue.arguments.version 3.6.16
...
pulumi config set --secret ssh_key < ~/.ssh/id_ed25519

`external-etcd status` finds the clusters in the output `clusters`.
"""

from typing import Any

import pulumi
from external_etcd import EtcdCluster, EtcdClusterArgs, Machine, check_cluster, previous_update

config = pulumi.Config()


def machine(given: dict[str, str]) -> Machine:
    """A machine of the configuration."""
    return {
        "name": given["name"],
        "address": given["address"],
        "ssh": {
            "host": given["address"],
            "host_key": given["host_key"],
            "user": config.get("ssh_user") or "root",
            "private_key": config.require_secret("ssh_key"),
        },
    }


def public(cluster: EtcdCluster) -> dict[str, Any]:
    """Outputs without secrets, as `external-etcd status` reads them."""
    return {
        "endpoints": cluster.endpoints,
        "members": cluster.members,
        "certificates": cluster.certificates,
        "applied": cluster.applied,
    }


async def main() -> pulumi.Inputs:
    """The clusters. Each is compared with its last update, so that preview refuses an unsafe change."""
    last = await previous_update("clusters") or {}
    wanted: dict[str, EtcdClusterArgs] = {
        name: {
            **given.get("arguments", {}),
            "members": [machine(each) for each in given["machines"]],
            "previous": last.get(name, {}).get("applied"),
        }
        for name, given in config.require_object("clusters").items()
    }
    # All of them before any is declared: a refused change of one cluster then leaves the others alone, too.
    for name, args in wanted.items():
        check_cluster(name, args)
    clusters = {name: EtcdCluster(name, args) for name, args in wanted.items()}
    return {
        "clusters": {name: public(cluster) for name, cluster in clusters.items()},
        # Its own output, so that `clusters` has no secret.
        "kubeadm_files": {name: cluster.kubeadm_files for name, cluster in clusters.items()},
    }


pulumi.run(main)
