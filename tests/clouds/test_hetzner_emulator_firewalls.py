"""The Hetzner emulator's firewalls as the API shows them; test_hetzner_emulator_traffic has what they do to packets."""

from typing import Any

import pytest
from hcloud import Client
from hcloud.firewalls import FirewallResource, FirewallResourceLabelSelector, FirewallRule
from hcloud.servers.domain import Server, ServerCreatePublicNetwork

from tests.support.clouds import client, cloud, finish, network, refused, server

__all__ = ["client", "cloud"]

SSH = FirewallRule("in", "tcp", ["198.51.100.0/24", "2001:db8::/32"], port="22", description="operators")
RIGHT: dict[str, Any] = {"direction": "in", "protocol": "tcp", "source_ips": ["0.0.0.0/0"], "port": "22"}


def on(number: int | None) -> FirewallResource:
    return FirewallResource(type="server", server=Server(id=number or 0))


def by(selector: str) -> FirewallResource:
    return FirewallResource(type="label_selector", label_selector=FirewallResourceLabelSelector(selector=selector))


def test_a_firewall_is_made_changed_applied_removed_and_deleted(client: Client) -> None:
    one = server(client, "one", start_after_create=False)
    wall = client.firewalls.create("wall", rules=[SSH], labels={"a": "b"}).firewall  # type: ignore[arg-type] # its hint is wrong
    assert [(rule.port, rule.source_ips, rule.description) for rule in wall.rules or []] == [
        ("22", SSH.source_ips, "operators")
    ]
    finish(*wall.set_rules([SSH, FirewallRule("out", "udp", [], destination_ips=["10.0.0.0/8"], port="80-85")]))
    finish(*wall.apply_to_resources([on(one.id)]))
    wall.reload()
    assert len(wall.rules or []) == 2
    assert [resource.server.id for resource in wall.applied_to or [] if resource.server] == [one.id]
    one.reload()
    assert one.public_net
    assert [applied.firewall.id for applied in one.public_net.firewalls or []] == [wall.id]
    assert wall.update(name="new").name == "new"
    with refused("resource_in_use"):
        wall.delete()
    finish(*wall.remove_from_resources([on(one.id)]))
    wall.delete()


def test_a_firewall_follows_a_label_selector(client: Client) -> None:
    one = server(client, "one", labels={"etcd": "true"}, start_after_create=False)
    server(client, "two", start_after_create=False)
    wall = client.firewalls.create("wall", rules=[SSH], resources=[by("etcd=true")]).firewall
    wall.reload()
    applied = (wall.applied_to or [])[0].applied_to_resources or []
    assert [resource.server.id for resource in applied if resource.server] == [one.id]
    with refused("firewall_managed_by_label_selector"):
        wall.remove_from_resources([on(one.id)])
    one.update(labels={})
    one.reload()
    assert one.public_net
    assert one.public_net.firewalls == []


def test_a_firewall_of_a_server_goes_with_the_server(client: Client) -> None:
    wall = client.firewalls.create("wall", rules=[SSH]).firewall
    one = server(client, "one", firewalls=[wall], start_after_create=False)
    wall.reload()
    assert len(wall.applied_to or []) == 1
    finish(one.delete())
    wall.delete()


@pytest.mark.parametrize(
    "wrong",
    [
        {"direction": "up"},
        {"protocol": "sctp"},
        {"port": None},
        {"port": "0"},
        {"port": "65536"},
        {"port": "90-80"},
        {"port": "ssh"},
        {"protocol": "icmp"},
        {"source_ips": []},
        {"source_ips": ["10.0.0.1/24"]},
        {"source_ips": ["10.0.0.1"]},
        {"source_ips": ["everybody"]},
        {"source_ips": [f"10.{n}.0.0/16" for n in range(101)]},
        {"destination_ips": ["10.0.0.0/8"]},
        {"direction": "out"},
        {"description": "x" * 256},
    ],
    ids=str,
)
def test_a_wrong_rule_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    with refused("invalid_input"):
        client.firewalls.create("wall", rules=[FirewallRule(**{**RIGHT, **wrong})])


def test_more_than_fifty_rules_are_refused(client: Client) -> None:
    wall = client.firewalls.create("wall", rules=[FirewallRule(**RIGHT)] * 50).firewall
    with refused("invalid_input"):
        wall.set_rules([FirewallRule(**RIGHT)] * 51)


def test_a_used_or_too_long_name_of_a_firewall_is_refused(client: Client) -> None:
    client.firewalls.create("wall")
    with refused("uniqueness_error"):
        client.firewalls.create("wall")
    with refused("invalid_input"):
        client.firewalls.create("x" * 129)


def test_a_firewall_is_applied_to_what_exists_and_once(client: Client) -> None:
    one = server(client, "one", start_after_create=False)
    wall = client.firewalls.create("wall").firewall
    with refused("firewall_resource_not_found"):
        wall.apply_to_resources([on(1)])
    with refused("firewall_resource_not_found"):
        wall.remove_from_resources([on(1)])
    with refused("server_already_added"):
        client.firewalls.create("other", resources=[on(one.id), on(one.id)])
    finish(*wall.apply_to_resources([on(one.id)]))
    with refused("firewall_already_applied"):
        wall.apply_to_resources([on(one.id)])


def test_a_firewall_for_a_server_with_private_networks_only_is_refused(client: Client) -> None:
    private = ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)
    wall = client.firewalls.create("wall").firewall
    net = network(client)
    one = server(client, "one", public_net=private, networks=[net], start_after_create=False)
    with refused("private_net_only_server"):
        wall.apply_to_resources([on(one.id)])
    with refused("private_net_only_server"):
        server(client, "two", public_net=private, networks=[net], firewalls=[wall], start_after_create=False)


def test_a_sixth_firewall_for_a_server_is_refused(client: Client) -> None:
    walls = [client.firewalls.create(f"wall-{number}").firewall for number in range(6)]
    one = server(client, "one", firewalls=walls[:5], start_after_create=False)
    with refused("resource_limit_exceeded"):
        walls[5].apply_to_resources([on(one.id)])
