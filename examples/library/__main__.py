"""A Pulumi program of one's own that uses external_etcd: machines from its configuration, kubeadm's files as outputs.

pulumi config set --path 'machines[0].name' etcd-1
pulumi config set --path 'machines[0].address' 10.0.0.11
pulumi config set --path 'machines[0].host_key' "$(ssh-keyscan -qt ed25519 10.0.0.11 | cut -d' ' -f2-)"
...
pulumi config set --secret ssh_key < ~/.ssh/id_ed25519
"""

import pulumi
from external_etcd import EtcdCluster, Machine

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

cluster = EtcdCluster(
    "etcd",
    {
        "members": machines,
        "version": config.get("version") or "3.6.16",
        "flags": {"max-request-bytes": "3145728"},
        **config.get_object("cluster", {}),
    },
)

pulumi.export("endpoints", cluster.endpoints)
pulumi.export("kubeadm", cluster.kubeadm)
pulumi.export("kubeadm_files", cluster.kubeadm_files)
