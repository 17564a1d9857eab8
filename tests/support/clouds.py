"""An emulated Hetzner Cloud for tests: one per module, with an empty account for each test that uses `client`.

Modules import the fixture `cloud`.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hcloud import APIException, Client
from hcloud.actions import BoundAction
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.networks import BoundNetwork, NetworkSubnet
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer
from hcloud.servers.domain import CreateServerResponse

from lab import Machine, host
from lab.clouds import CloudMachine, HetznerCloud
from tests.support.machines import temporary_lab

CX = ServerType(name="cx23")
DEBIAN = Image(name="debian-12")
FSN = Location(name="fsn1")


@pytest.fixture(scope="module")
def cloud() -> Iterator[HetznerCloud]:
    """The module's emulated Hetzner Cloud."""
    with temporary_lab("hetzner") as lab:
        cloud = HetznerCloud(lab.dir).start()
        try:
            yield cloud
        finally:
            cloud.stop()


def new_client(cloud: HetznerCloud) -> Client:
    """The official client, polling actions more often than by default."""
    return Client(cloud.token, cloud.endpoint, poll_interval=0.05, poll_max_retries=1200, timeout=30)


def make_empty(client: Client) -> None:
    """Delete everything in the account."""
    for server in client.servers.get_all():
        finish(server.delete())
    for volume in client.volumes.get_all():
        volume.delete()
    for firewall in client.firewalls.get_all():
        finish(*firewall.remove_from_resources(firewall.applied_to or []))
        firewall.delete()
    for network in client.networks.get_all():
        network.delete()
    for group in client.placement_groups.get_all():
        group.delete()
    for key in client.ssh_keys.get_all():
        key.delete()


def finish(*actions: BoundAction) -> None:
    """Wait until these actions have succeeded."""
    for action in actions:
        action.wait_until_finished()


def finished(response: CreateServerResponse) -> BoundServer:
    """A new server, after all actions of its creation."""
    finish(response.action, *(response.next_actions or []))
    server = response.server
    server.reload()
    return server


def server(client: Client, name: str, **options: Any) -> BoundServer:
    """A new server: small, Debian, in Falkenstein; it does not boot with `start_after_create=False`."""
    settings = {"server_type": CX, "image": DEBIAN, "location": FSN, **options}
    return finished(client.servers.create(name, **settings))


def network(
    client: Client, name: str = "net", ip_range: str = "10.0.0.0/16", subnet: str = "10.0.1.0/24"
) -> BoundNetwork:
    """A new network with one subnet in eu-central."""
    made = client.networks.create(name, ip_range)
    finish(made.add_subnet(NetworkSubnet(type="cloud", network_zone="eu-central", ip_range=subnet)))
    made.reload()
    return made


def ready(cloud: HetznerCloud, *servers: BoundServer) -> list[CloudMachine]:
    """The machines of servers, after cloud-init has succeeded."""
    found = [cloud.machine(server.id or 0) for server in servers]
    for machine in found:
        assert machine.wait_for_cloud_init() == "done", machine.run("cloud-init status --long", check=False).stdout
    return found


@contextlib.contextmanager
def refused(code: str) -> Iterator[None]:
    """Expect the block to be refused with this documented code."""
    with pytest.raises(APIException) as caught:
        yield
    assert caught.value.code == code, caught.value
    assert caught.value.message


def reaches(machine: Machine | CloudMachine, address: str, port: int = 22) -> bool:
    """Whether a TCP connection from a machine is accepted."""
    line = f"timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"
    return machine.run(line, check=False).returncode == 0


def listen(machine: CloudMachine, *ports: int) -> None:
    """Make a machine accept connections on these ports."""
    for port in ports:
        machine.run(f"systemd-run --quiet --unit listen-{port} nc -lk {port}")
    for port in ports:
        machine.run(f"for n in $(seq 50); do ss -ltn | grep -q ':{port} ' && exit; sleep 0.1; done; exit 1")


def public_key(directory: Path, name: str = "key") -> tuple[Path, str]:
    """A new key pair: the path of the private key and the text of the public one."""
    path = directory / name
    host.call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path))
    return path, path.with_suffix(".pub").read_text().strip()


def names(rows: Iterable[Any]) -> list[str]:
    """The names in a list of the client."""
    return [row.name for row in rows]
