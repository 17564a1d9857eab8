"""Network and machines of an etcd cluster on AWS, and a bucket for its snapshots."""

from .backup_bucket import AwsBackupBucket, AwsBackupBucketArgs
from .bastion import AwsBastion, AwsBastionArgs
from .key import AwsKey
from .machines import AwsMachines, AwsMachinesArgs, AwsSlot, AwsVolume
from .network import AwsNetwork, AwsNetworkArgs, AwsSubnet

__all__ = [
    "AwsBackupBucket",
    "AwsBackupBucketArgs",
    "AwsBastion",
    "AwsBastionArgs",
    "AwsKey",
    "AwsMachines",
    "AwsMachinesArgs",
    "AwsNetwork",
    "AwsNetworkArgs",
    "AwsSlot",
    "AwsSubnet",
    "AwsVolume",
]
