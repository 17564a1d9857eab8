"""Your own Pulumi program with external_etcd: existing machines from its configuration, kubeadm's files as outputs.

pulumi config set --path 'machines[0].name' etcd-1
pulumi config set --path 'machines[0].address' 10.0.0.11
pulumi config set --path 'machines[0].host_key' "$(ssh-keyscan -qt ed25519 10.0.0.11 | cut -d' ' -f2-)"
...
pulumi config set --secret ssh_key < ~/.ssh/id_ed25519
"""

import pulumi
from external_etcd import EtcdCluster, Machine, previous_update

config = pulumi.Config()

machines: list[Machine] = [
    {
        "name": machine["name"],
        "address": machine["address"],
        "ssh": {
            "host": machine["address"],
            "host_key": machine["host_key"],
            "user": config.get("ssh_user") or "root",
            "private_key": config.require_secret("ssh_key"),
        },
    }
    for machine in config.require_object("machines")
]


async def main() -> pulumi.Inputs:
    """The cluster. It is compared with the last update, so that preview refuses an unsafe change."""
    cluster = EtcdCluster(
        "etcd",
        {
            "members": machines,
            "version": config.get("version") or "3.6.16",
            "flags": {"max-request-bytes": "3145728"},
            "previous": await previous_update(),
            **config.get_object("cluster", {}),
        },
    )
    return {
        "endpoints": cluster.endpoints,
        "kubeadm": cluster.kubeadm,
        "kubeadm_files": cluster.kubeadm_files,
        "applied": cluster.applied,
    }


pulumi.run(main)
