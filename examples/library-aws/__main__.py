"""Your own Pulumi program: network, machines and cluster on AWS.

pulumi config set aws:region eu-central-1
pulumi config set operators '["203.0.113.7/32"]'    # ranges from which ssh is allowed
"""

import pulumi
from external_etcd import previous_update
from external_etcd.aws import AwsEtcdCluster, AwsEtcdClusterArgs

config = pulumi.Config()
region = pulumi.Config("aws").require("region")

ARGS: AwsEtcdClusterArgs = {
    "zones": [f"{region}{letter}" for letter in "abc"],
    "instance_type": "t3.medium",
    # To replace a machine, raise its generation; one slot per update.
    "slots": [{"name": f"etcd-{number}", "generation": 1} for number in (1, 2, 3)],
    "operators": config.require_object("operators"),
}
# Another image than the newest Debian, by its ID.
if ami := config.get("ami"):
    ARGS["ami"] = ami


async def main() -> pulumi.Inputs:
    """The cluster. Put the machines of your control plane into the clients' security group."""
    cluster = AwsEtcdCluster("etcd", {**ARGS, "previous": await previous_update()})
    return {
        "endpoints": cluster.endpoints,
        "kubeadm_files": cluster.kubeadm_files,
        "clients_security_group": cluster.clients_security_group_id,
        "applied": cluster.applied,
    }


pulumi.run(main)
