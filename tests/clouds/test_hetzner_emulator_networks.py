"""The Hetzner emulator's networks, through the official client: life cycle and refusals."""

import pytest
from hcloud import Client
from hcloud.networks import NetworkRoute, NetworkSubnet

from lab.clouds import HetznerCloud
from tests.support.clouds import client, cloud, finish, names, network, refused, server

__all__ = ["client", "cloud"]


def subnet(ip_range: str | None, zone: str = "eu-central", kind: str = "cloud") -> NetworkSubnet:
    return NetworkSubnet(type=kind, network_zone=zone, ip_range=ip_range)  # type: ignore[arg-type] # may be left out


def test_a_network_is_made_found_changed_and_deleted(client: Client, cloud: HetznerCloud) -> None:
    made = client.networks.create("net", "10.0.0.0/16", labels={"cluster": "dev"})
    assert client.networks.get_by_id(made.id or 0).ip_range == "10.0.0.0/16"
    assert client.networks.get_by_name("net") is not None
    finish(made.add_subnet(subnet("10.0.1.0/24")), made.add_subnet(subnet(None)))
    made.reload()
    assert [one.ip_range for one in made.subnets or []] == ["10.0.1.0/24", "10.0.0.0/24"]
    assert {one.gateway for one in made.subnets or []} == {"10.0.0.1"}
    finish(made.add_route(NetworkRoute(destination="0.0.0.0/0", gateway="10.0.1.5")))
    made.reload()
    assert [route.gateway for route in made.routes or []] == ["10.0.1.5"]
    finish(made.delete_route(NetworkRoute(destination="0.0.0.0/0", gateway="10.0.1.5")))
    finish(made.delete_subnet(subnet("10.0.0.0/24")), made.change_ip_range("10.0.0.0/15"))
    assert made.update(name="other", labels={"cluster": "new"}).labels == {"cluster": "new"}
    made.reload()
    assert (made.name, made.ip_range, made.routes) == ("other", "10.0.0.0/15", [])
    assert [one.ip_range for one in made.subnets or []] == ["10.0.1.0/24"]
    assert [action.command for action in made.get_actions()] == [
        "add_subnet",
        "add_subnet",
        "add_route",
        "delete_route",
        "delete_subnet",
        "change_ip_range",
    ]
    made.delete()
    assert cloud.resources()["networks"] == []


def test_a_second_network_of_a_name_is_refused(client: Client) -> None:
    client.networks.create("net", "10.0.0.0/16")
    other = client.networks.create("other", "10.0.0.0/16")
    with refused("uniqueness_error"):
        client.networks.create("net", "10.1.0.0/16")
    with refused("uniqueness_error"):
        other.update(name="net")


@pytest.mark.parametrize("ip_range", ["8.8.0.0/16", "10.0.0.0/25", "10.0.0.1/16", "fd00::/64", "10.0.0.0/33", ""])
def test_a_network_with_a_range_that_is_public_too_small_or_none_is_refused(client: Client, ip_range: str) -> None:
    with refused("invalid_input"):
        client.networks.create("net", ip_range)


@pytest.mark.parametrize(
    "wrong",
    [
        subnet("10.1.0.0/24"),
        subnet("10.0.1.128/25"),
        subnet("10.0.2.0/31"),
        subnet("10.0.2.1/24"),
        subnet("10.0.2.0/24", zone="eu-west"),
        subnet("10.0.2.0/24", kind="vswitch"),
        subnet("10.0.2.0/24", kind="other"),
        subnet("10.0.9.0/24"),
    ],
    ids=["outside", "overlapping", "too small", "host bits", "zone", "vswitch", "kind", "overlaps with a route"],
)
def test_a_subnet_that_does_not_fit_is_refused(client: Client, wrong: NetworkSubnet) -> None:
    made = network(client)
    finish(made.add_route(NetworkRoute(destination="10.0.9.0/24", gateway="10.0.1.5")))
    with refused("invalid_input"):
        made.add_subnet(wrong)


@pytest.mark.parametrize("gateway", ["10.0.0.1", "10.1.0.1", "172.31.1.1", "nonsense"])
def test_a_route_by_a_gateway_that_cannot_be_one_is_refused(client: Client, gateway: str) -> None:
    made = network(client)
    with refused("invalid_input"):
        made.add_route(NetworkRoute(destination="192.168.0.0/24", gateway=gateway))
    with refused("invalid_input"):
        made.add_route(NetworkRoute(destination="10.0.1.0/25", gateway="10.0.1.5"))
    with refused("not_found"):
        made.delete_route(NetworkRoute(destination="192.168.0.0/24", gateway="10.0.1.5"))


def test_a_range_of_a_network_never_shrinks(client: Client) -> None:
    made = network(client)
    for wrong in ("10.0.0.0/17", "10.1.0.0/16"):
        with refused("invalid_input"):
            made.change_ip_range(wrong)


def test_a_protected_network_is_not_deleted(client: Client) -> None:
    made = network(client)
    finish(made.change_protection(delete=True))
    made.reload()
    assert made.protection == {"delete": True}
    with refused("protected"):
        made.delete()


def test_a_subnet_with_a_server_in_it_is_not_deleted_and_knows_its_members(client: Client) -> None:
    made = network(client)
    one = server(client, "one", networks=[made], start_after_create=False)
    with refused("service_error"):
        made.delete_subnet(subnet("10.0.1.0/24"))
    made.reload()
    assert [member.id for member in made.servers or []] == [one.id]
    assert len(client.networks.get_member_list(made).members) == 1
    with refused("not_found"):
        made.delete_subnet(subnet("10.0.77.0/24"))


def test_a_network_that_is_deleted_lets_its_servers_go(client: Client) -> None:
    made = network(client)
    one = server(client, "one", networks=[made], start_after_create=False)
    made.delete()
    assert names(client.networks.get_all()) == []
    one.reload()
    assert one.private_net == []
