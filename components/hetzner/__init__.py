"""Network and machines of an etcd cluster on Hetzner Cloud."""

from .bastion import HetznerBastion, HetznerBastionArgs
from .key import HetznerKey, HetznerKeyArgs
from .machines import HetznerMachines, HetznerMachinesArgs, HetznerSlot, HetznerVolume
from .network import HetznerNetwork, HetznerNetworkArgs

__all__ = [
    "HetznerBastion",
    "HetznerBastionArgs",
    "HetznerKey",
    "HetznerKeyArgs",
    "HetznerMachines",
    "HetznerMachinesArgs",
    "HetznerNetwork",
    "HetznerNetworkArgs",
    "HetznerSlot",
    "HetznerVolume",
]
