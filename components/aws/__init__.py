"""Network and machines of an etcd cluster on AWS."""

from .bastion import AwsBastion, AwsBastionArgs
from .key import AwsKey
from .machines import AwsMachines, AwsMachinesArgs, AwsSlot, AwsVolume
from .network import AwsNetwork, AwsNetworkArgs, AwsSubnet

__all__ = [
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
