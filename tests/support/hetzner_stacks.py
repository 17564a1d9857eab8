"""Stacks of the platform hetzner on the emulated cloud, for tests."""

from pathlib import Path

from hcloud.networks import BoundNetwork, NetworkSubnet
from hcloud.servers import BoundServer

from lab.clouds import CloudMachine, HetznerCloud

from .cloud_stacks import CloudStacks
from .clouds import finish, new_client, ready, server
from .stacks import Stack

_ADDRESSES = {"client": "10.1.2.9", "stranger": "10.1.1.99"}


class HetznerStacks(CloudStacks):
    """Creates stacks on one emulated Hetzner Cloud; `client` is the official client."""

    kind = "hetzner"
    package = "hcloud"

    def __init__(self, cloud: HetznerCloud, directory: Path) -> None:
        config = {"hcloud:endpoint": cloud.endpoint, "hcloud:token": cloud.token, "hcloud:pollInterval": "50ms"}
        super().__init__(cloud, directory, config=config)
        self.cloud = cloud
        self.client = new_client(cloud)
        self._beside: list[BoundServer] = []
        self._subnets: list[tuple[BoundNetwork, NetworkSubnet]] = []

    def beside(self, stack: Stack, *who: str) -> list[CloudMachine]:
        """A client is in a new subnet for the clients' range; a name that is an address gets that address."""
        network = self.client.networks.get_by_name(stack.directory.name)
        assert network is not None
        made = []
        for address in [_ADDRESSES.get(name, name) for name in who]:
            range_ = f"{address.rpartition('.')[0]}.0/24"
            if range_ not in [subnet.ip_range for subnet in network.subnets or []]:
                subnet = NetworkSubnet(type="cloud", network_zone="eu-central", ip_range=range_)
                finish(network.add_subnet(subnet))
                network.reload()
                self._subnets.append((network, subnet))
            made.append(server(self.client, f"beside-{address.replace('.', '-')}"))
            self._beside.append(made[-1])
            finish(made[-1].attach_to_network(network, ip=address))
        return ready(self.cloud, *made)

    def remove_beside(self) -> None:
        """Also removes the subnets."""
        for machine in self._beside:
            finish(machine.delete())
        for network, subnet in self._subnets:
            finish(network.delete_subnet(subnet))
        self._beside, self._subnets = [], []

    def terminate(self, stack: Stack, slot: str) -> None:
        """Also waits for the end of the deletion."""
        finish(self.client.servers.get_by_id(int(stack.outputs()["server_ids"][slot])).delete())
