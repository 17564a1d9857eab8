"""An etcd cluster with its machines on Hetzner Cloud: in one component, or in parts."""

from .bastion import HetznerBastion, HetznerBastionArgs
from .cluster import HetznerClusterBastion, HetznerClusterSlot, HetznerEtcdCluster, HetznerEtcdClusterArgs
from .key import HetznerKey, HetznerKeyArgs
from .machines import HetznerMachines, HetznerMachinesArgs, HetznerSlot, HetznerVolume
from .network import HetznerNetwork, HetznerNetworkArgs

__all__ = [
    "HetznerBastion",
    "HetznerBastionArgs",
    "HetznerClusterBastion",
    "HetznerClusterSlot",
    "HetznerEtcdCluster",
    "HetznerEtcdClusterArgs",
    "HetznerKey",
    "HetznerKeyArgs",
    "HetznerMachines",
    "HetznerMachinesArgs",
    "HetznerNetwork",
    "HetznerNetworkArgs",
    "HetznerSlot",
    "HetznerVolume",
]
