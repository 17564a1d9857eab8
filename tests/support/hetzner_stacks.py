"""Stacks of the platform hetzner on the emulated cloud, for tests."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hcloud.networks import NetworkSubnet

from lab.clouds import CloudMachine, HetznerCloud
from lab.engine import environment

from .cloud_stacks import FILES
from .clouds import finish, make_empty, new_client, ready, server
from .stacks import REPO, Stack

SLOTS = ("etcd-1", "etcd-2", "etcd-3")
EXAMPLE: dict[str, Any] = yaml.safe_load((REPO / "Pulumi.hetzner.yaml").read_text())["config"]
KEY = "external-etcd:hetzner"


class HetznerStacks:
    """Makes stacks on one emulated cloud, whose account is empty at first.

    Attributes:
        cloud: the cloud.
    """

    def __init__(self, cloud: HetznerCloud, directory: Path) -> None:
        self.cloud = cloud
        self._directory = directory
        self._environ = environment(directory / "engine")
        make_empty(new_client(cloud))

    def new(self, cluster: str, slots: int = 3, keys: dict[str, Any] | None = None, **changes: Any) -> Stack:
        """The example, changed where the emulated cloud is not the real one: endpoint, token, who the operator is.

        Args:
            cluster: name of the stack and of its cluster.
            slots: how many.
            keys: further keys of the program.
            changes: keys of the object `hetzner`.
        """
        config = copy.deepcopy(EXAMPLE)
        config["external-etcd:clusterName"] = cluster
        config["external-etcd:releaseMirror"] = "http://releases.lab"
        config |= {f"external-etcd:{name}": value for name, value in (keys or {}).items()}
        config[KEY] |= {"operators": [f"{self.cloud.public[1]}/32"], **changes}
        config[KEY]["slots"] += [{"name": f"etcd-{n}", "generation": 1} for n in range(4, slots + 1)]
        config |= {"hcloud:endpoint": self.cloud.endpoint, "hcloud:token": self.cloud.token}
        config["hcloud:pollInterval"] = "50ms"
        return Stack(self._directory / cluster, self._environ, config, FILES, "external-etcd")

    def machine(self, cluster: str, name: str) -> CloudMachine:
        """The machine of a slot, or another one of the cluster's."""
        return self.cloud.machine(f"{cluster}-{name}")

    def members(self, cluster: str) -> list[CloudMachine]:
        """The machines of the first three slots."""
        return [self.machine(cluster, slot) for slot in SLOTS]

    def left(self) -> list[str]:
        """Everything in the account, and every machine."""
        found = [f"{kind} {name}" for kind, names in self.cloud.resources().items() for name in names]
        return found + [machine.name for machine in self.cloud.machines()]

    def beside(self, cluster: str, *addresses: str) -> list[CloudMachine]:
        """New servers in the cluster's network that are not the program's; a subnet is added where there is none."""
        client = new_client(self.cloud)
        network = client.networks.get_by_name(cluster)
        assert network is not None
        wanted = {f"{address.rpartition('.')[0]}.0/24" for address in addresses}
        for range_ in sorted(wanted - {str(subnet.ip_range) for subnet in network.subnets or []}):
            finish(network.add_subnet(NetworkSubnet(type="cloud", network_zone="eu-central", ip_range=range_)))
        made = []
        for address in addresses:
            one = server(client, f"beside-{address.replace('.', '-')}")
            finish(one.attach_to_network(network, ip=address))
            made.append(one)
        return ready(self.cloud, *made)

    def remove_beside(self, cluster: str) -> None:
        """Takes away what `beside` made."""
        client = new_client(self.cloud)
        for one in client.servers.get_all():
            if str(one.name).startswith("beside-"):
                finish(one.delete())
        network = client.networks.get_by_name(cluster)
        assert network is not None
        for subnet in network.subnets or []:
            if subnet.ip_range != EXAMPLE[KEY]["subnetRange"]:
                finish(network.delete_subnet(subnet))

    def terminate(self, cluster: str, slot: str) -> None:
        """Deletes the server of a slot behind Pulumi's back."""
        (number,) = [row["id"] for row in self.cloud.call("GET", f"/servers?name={cluster}-{slot}")["servers"]]
        self.cloud.call("DELETE", f"/servers/{number}")


def raise_generation(stack: Stack, *slots: str, by: int = 1) -> None:
    """Raises the generation of these slots in the stack's configuration."""
    for slot in stack.config[KEY]["slots"]:
        slot["generation"] += by if slot["name"] in slots else 0


@pytest.fixture(scope="module")
def stacks(cloud: HetznerCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HetznerStacks]:
    """Stacks on the session's emulated cloud."""
    yield HetznerStacks(cloud, tmp_path_factory.mktemp("stacks"))
    make_empty(new_client(cloud))
