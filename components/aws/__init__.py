"""An etcd cluster with its machines on AWS: in one component, or in parts. And a bucket for snapshots."""

from .backup_bucket import AwsBackupBucket, AwsBackupBucketArgs
from .bastion import AwsBastion, AwsBastionArgs
from .cluster import (
    AwsClusterBastion,
    AwsClusterBucket,
    AwsClusterSlot,
    AwsClusterSubnet,
    AwsEtcdCluster,
    AwsEtcdClusterArgs,
)
from .key import AwsKey
from .machines import AwsMachines, AwsMachinesArgs, AwsSlot, AwsVolume
from .network import AwsNetwork, AwsNetworkArgs, AwsSubnet

__all__ = [
    "AwsBackupBucket",
    "AwsBackupBucketArgs",
    "AwsBastion",
    "AwsBastionArgs",
    "AwsClusterBastion",
    "AwsClusterBucket",
    "AwsClusterSlot",
    "AwsClusterSubnet",
    "AwsEtcdCluster",
    "AwsEtcdClusterArgs",
    "AwsKey",
    "AwsMachines",
    "AwsMachinesArgs",
    "AwsNetwork",
    "AwsNetworkArgs",
    "AwsSlot",
    "AwsSubnet",
    "AwsVolume",
]
