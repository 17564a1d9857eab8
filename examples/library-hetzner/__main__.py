"""Your own Pulumi program on Hetzner Cloud, which puts network, machines and cluster together itself.

`HetznerEtcdCluster` of `external_etcd.hetzner` is all of them in one component, as in examples/library-aws.

pulumi config set --secret hcloud:token
pulumi config set operators '["203.0.113.7/32"]'    # ranges from which ssh is allowed
"""

import pulumi
from external_etcd import EtcdCluster, previous_update
from external_etcd.hetzner import HetznerKey, HetznerMachines, HetznerNetwork
from external_etcd.plan.firewall_rules import member_rules

config = pulumi.Config()

CLUSTER = "etcd"
ADDRESSES = {"etcd-1": "10.1.1.11", "etcd-2": "10.1.1.12", "etcd-3": "10.1.1.13"}
CONTROL_PLANES = ["10.1.2.0/24"]


async def main() -> pulumi.Inputs:
    """Network, machines and cluster. `previous` makes the preview refuse the replacement of two machines at once."""
    operators = config.require_object("operators")
    network = HetznerNetwork(CLUSTER, {"cluster_name": CLUSTER, "zone": "eu-central", "operators": operators})
    key = HetznerKey(CLUSTER, {"cluster_name": CLUSTER})
    machines = HetznerMachines(
        CLUSTER,
        network,
        {
            "cluster_name": CLUSTER,
            "slots": [
                {"name": name, "address": address, "location": "fsn1", "server_type": "cx23"}
                for name, address in ADDRESSES.items()
            ],
            "firewall": member_rules(list(ADDRESSES.values()), operators=operators, clients=CONTROL_PLANES, metrics=[]),
            "private_key": key.private_key,
            "public_key": key.public_key,
            "ssh_keys": [key.key_id],
        },
    )
    cluster = EtcdCluster(CLUSTER, {"members": machines.machines, "previous": await previous_update()})
    return {
        "endpoints": cluster.endpoints,
        "kubeadm_files": cluster.kubeadm_files,
        "applied": cluster.applied,
    }


pulumi.run(main)
