"""How many of a thing the Hetzner emulator gives out, through the official client."""

from hcloud import Client
from hcloud.networks import NetworkRoute, NetworkSubnet
from hcloud.servers.domain import ServerCreatePublicNetwork

from tests.support.clouds import CX, DEBIAN, FSN, client, cloud, finish, network, refused, server

__all__ = ["client", "cloud"]

LIMIT = "resource_limit_exceeded"
NOWHERE = ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)


def test_a_network_has_at_most_50_subnets_and_100_routes(client: Client) -> None:
    net = client.networks.create("net", "10.0.0.0/8")
    for number in range(50):
        net.add_subnet(NetworkSubnet(type="cloud", network_zone="eu-central", ip_range=f"10.0.{number}.0/24"))
    with refused(LIMIT):
        net.add_subnet(NetworkSubnet(type="cloud", network_zone="eu-central", ip_range="10.0.50.0/24"))
    for number in range(100):
        net.add_route(NetworkRoute(destination=f"10.1.{number}.0/24", gateway="10.0.1.5"))
    with refused(LIMIT):
        net.add_route(NetworkRoute(destination="10.1.100.0/24", gateway="10.0.1.5"))


def test_a_server_is_in_at_most_3_networks_and_has_at_most_16_volumes(client: Client) -> None:
    nets = [network(client, f"net-{n}", f"10.{n}.0.0/16", f"10.{n}.1.0/24") for n in range(4)]
    disks = [client.volumes.create(10, f"disk-{n}", location=FSN).volume for n in range(17)]
    one = server(client, "one", public_net=NOWHERE, networks=nets[:3], volumes=disks[:16], start_after_create=False)
    with refused(LIMIT):
        one.attach_to_network(nets[3])
    with refused(LIMIT):
        disks[16].attach(one)
    with refused(LIMIT):
        server(client, "two", public_net=NOWHERE, networks=nets, start_after_create=False)


def test_a_project_has_at_most_50_placement_groups(client: Client) -> None:
    for number in range(50):
        client.placement_groups.create(f"group-{number}", "spread")
    with refused(LIMIT):
        client.placement_groups.create("group-50", "spread")


def test_a_network_has_at_most_100_servers(client: Client) -> None:
    net = network(client)
    made = [
        client.servers.create(f"one-{number}", **_off(net))  # type: ignore[arg-type]
        for number in range(100)
    ]
    with refused(LIMIT):
        client.servers.create("one-100", **_off(net))  # type: ignore[arg-type]
    for each in made:
        finish(each.action)


def _off(net: object) -> dict[str, object]:
    return {
        "server_type": CX,
        "image": DEBIAN,
        "location": FSN,
        "networks": [net],
        "public_net": NOWHERE,
        "start_after_create": False,
    }
