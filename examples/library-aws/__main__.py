"""Your own Pulumi program: network, machines and cluster on AWS.

pulumi config set aws:region eu-central-1
pulumi config set operators '["203.0.113.7/32"]'    # ranges from which ssh is allowed
"""

import pulumi
from external_etcd import EtcdCluster, previous_update
from external_etcd.aws import AwsKey, AwsMachines, AwsNetwork, AwsSlot

config = pulumi.Config()

CLUSTER = "etcd"
REGION = pulumi.Config("aws").require("region")
SLOTS: list[AwsSlot] = [
    {
        "name": f"etcd-{number}",
        "address": f"10.2.{number}.10",
        "zone": f"{REGION}{zone}",
        "instance_type": "t3.medium",
    }
    for number, zone in enumerate("abc", start=1)
]
# Another image than the newest Debian, by its ID.
for slot in SLOTS:
    if ami := config.get("ami"):
        slot["ami"] = ami


async def main() -> pulumi.Inputs:
    """Network, machines and cluster. Put the machines of your control plane into the clients' security group."""
    network = AwsNetwork(
        CLUSTER,
        {
            "cluster_name": CLUSTER,
            "subnets": [{"zone": slot["zone"], "range": f"10.2.{n}.0/24"} for n, slot in enumerate(SLOTS, start=1)],
            "operators": config.require_object("operators"),
        },
    )
    key = AwsKey(CLUSTER)
    machines = AwsMachines(
        CLUSTER,
        network,
        {
            "cluster_name": CLUSTER,
            "slots": SLOTS,
            "private_key": key.private_key,
            "public_key": key.public_key,
        },
    )
    cluster = EtcdCluster(CLUSTER, {"members": machines.machines, "previous": await previous_update()})
    return {
        "endpoints": cluster.endpoints,
        "kubeadm_files": cluster.kubeadm_files,
        "clients_security_group": network.clients_group_id,
        "applied": cluster.applied,
    }


pulumi.run(main)
