"""What the Hetzner emulator does to packets: firewalls at the public side, private networks, routes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hcloud import Client
from hcloud.firewalls import FirewallResource, FirewallRule
from hcloud.networks import NetworkRoute
from hcloud.servers import BoundServer
from hcloud.servers.domain import ServerCreatePublicNetwork

from lab import Machine
from lab.clouds import CloudMachine, HetznerCloud
from tests.support.clouds import cloud, finish, listen, make_empty, network, new_client, reaches, ready, server

__all__ = ["cloud"]

ANYBODY = ["0.0.0.0/0", "::/0"]


@dataclass
class Scene:
    """Two servers in one network, one with two more in a network of its own and the same addresses, and a stranger."""

    client: Client
    cloud: HetznerCloud
    servers: dict[str, BoundServer]
    machines: dict[str, CloudMachine]
    stranger: Machine
    stranger_address: str


@pytest.fixture(scope="module")
def scene(cloud: HetznerCloud) -> Iterator[Scene]:
    client = new_client(cloud)
    make_empty(client)
    one, two = network(client, "one"), network(client, "two")
    servers = {
        "first": server(client, "first", networks=[one]),
        "second": server(client, "second", networks=[one]),
        "other": server(client, "other", networks=[two]),
    }
    machines = dict(zip(servers, ready(cloud, *servers.values()), strict=True))
    listen(machines["first"], 2379, 2380, 8080)
    stranger = cloud.stranger()
    yield Scene(client, cloud, servers, machines, stranger, cloud.stranger_address(stranger))
    make_empty(client)


@pytest.fixture
def walled(scene: Scene) -> Iterator[Scene]:
    """The scene; firewalls are removed afterwards."""
    yield scene
    for firewall in scene.client.firewalls.get_all():
        finish(*firewall.remove_from_resources(firewall.applied_to or []))
        firewall.delete()


def wall(scene: Scene, *rules: FirewallRule) -> None:
    made = scene.client.firewalls.create("wall", rules=list(rules)).firewall
    finish(*made.apply_to_resources([FirewallResource(type="server", server=scene.servers["first"])]))


def open_to(scene: Scene, who: str, port: int) -> bool:
    first = scene.machines["first"]
    assert first.address
    if who == "operator":
        return first.answers(10) if port == 22 else pytest.fail("the operator is asked for ssh only")
    machine = scene.stranger if who == "stranger" else scene.machines[who]
    return reaches(machine, first.address, port)


def test_without_a_firewall_the_public_side_is_open(walled: Scene) -> None:
    assert open_to(walled, "stranger", 22)
    assert open_to(walled, "stranger", 2379)
    assert open_to(walled, "second", 8080)


def test_a_firewall_lets_in_only_what_its_rules_say(walled: Scene) -> None:
    operator = f"{walled.cloud.public[1]}/32"
    second = f"{walled.machines['second'].address}/32"
    wall(
        walled,
        FirewallRule("in", "tcp", [operator], port="22"),
        FirewallRule("in", "tcp", [second, "2001:db8::/32"], port="2379-2380"),
    )
    assert open_to(walled, "operator", 22)
    assert not open_to(walled, "stranger", 22)
    assert not open_to(walled, "second", 22)
    assert open_to(walled, "second", 2379)
    assert open_to(walled, "second", 2380)
    assert not open_to(walled, "second", 8080)
    assert not open_to(walled, "stranger", 2379)


def test_changed_rules_take_effect_at_once_and_a_removed_firewall_opens(walled: Scene) -> None:
    wall(walled)
    assert not open_to(walled, "stranger", 8080)
    firewall = walled.client.firewalls.get_all()[0]
    finish(*firewall.set_rules([FirewallRule("in", "tcp", [f"{walled.stranger_address}/32"], port="8080")]))
    assert open_to(walled, "stranger", 8080)
    assert not open_to(walled, "second", 8080)
    firewall.reload()
    finish(*firewall.remove_from_resources(firewall.applied_to or []))
    assert open_to(walled, "second", 8080)


def test_answers_to_what_a_server_asks_come_back_through_its_firewall(walled: Scene) -> None:
    wall(walled)
    first = walled.machines["first"]
    assert reaches(first, walled.stranger_address, 22)
    assert reaches(first, "releases.lab", 80)
    first.run(f"ping -c 1 -W 2 {walled.stranger_address}")
    walled.stranger.run(["systemd-run", "--quiet", "python3", "-c", _ECHO.format(walled.stranger_address)], root=True)
    for _ in range(20):
        done = first.run(f"echo hello | timeout 1 nc -u -w 1 {walled.stranger_address} 5353", check=False)
        if done.stdout:
            break
    assert done.stdout == "hello\n"


_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("{}", 5353))
while True:
    s.sendto(*s.recvfrom(99))
"""


def test_with_outgoing_rules_nothing_else_gets_out(walled: Scene) -> None:
    wall(
        walled,
        FirewallRule("in", "tcp", ANYBODY, port="any"),
        FirewallRule("out", "tcp", [], destination_ips=["10.0.0.0/8"], port="80"),
    )
    first = walled.machines["first"]
    assert reaches(first, "releases.lab", 80)
    assert not reaches(first, walled.stranger_address, 22)
    assert open_to(walled, "stranger", 2379), "answers to what was let in get out"


def test_icmp_is_let_in_by_its_own_rule(walled: Scene) -> None:
    address = walled.machines["first"].address
    ping = f"timeout 3 ping -c 1 -W 1 {address}"
    wall(walled)
    assert walled.machines["second"].run(ping, check=False).returncode != 0
    finish(*walled.client.firewalls.get_all()[0].set_rules([FirewallRule("in", "icmp", ANYBODY)]))
    assert walled.machines["second"].run(ping, check=False).returncode == 0


def test_a_firewall_does_not_filter_the_private_network(walled: Scene) -> None:
    wall(walled)
    private = walled.machines["first"].private_addresses[0]
    assert reaches(walled.machines["second"], private, 2379)
    assert reaches(walled.machines["second"], private, 22)


def test_a_private_network_is_not_reached_from_outside_it(walled: Scene) -> None:
    first, other = walled.machines["first"], walled.machines["other"]
    assert first.private_addresses == other.private_addresses, "two networks may have the same range"
    assert not reaches(walled.stranger, first.private_addresses[0], 22)
    route = walled.cloud.lab.machine("stranger").run(f"ip route get {first.private_addresses[0]}", check=False)
    assert route.returncode != 0 or "enp" not in route.stdout
    second = walled.machines["second"].private_addresses[0]
    assert not reaches(other, second, 22), "nor from another network"


def test_public_addresses_of_ipv6_are_reached_and_filtered(walled: Scene) -> None:
    public = walled.servers["first"].public_net
    assert public
    assert public.ipv6
    address = f"{public.ipv6.ip.removesuffix('/64')}1"
    second = walled.machines["second"]
    line = f"timeout 2 nc -6 -z -w 2 {address} 22"
    assert second.run(line, check=False).returncode == 0
    wall(walled, FirewallRule("in", "tcp", ["0.0.0.0/0"], port="22"))
    assert second.run(line, check=False).returncode != 0


def test_a_private_server_reaches_the_mirror_through_the_networks_route_by_a_bastion(scene: Scene) -> None:
    client, cloud = scene.client, scene.cloud
    net = network(client, "private", "10.7.0.0/16", "10.7.1.0/24")
    finish(net.add_route(NetworkRoute(destination="0.0.0.0/0", gateway="10.7.1.5")))
    translate = (
        "sysctl -q -w net.ipv4.ip_forward=1; nft add table ip t; "
        "nft 'add chain ip t out { type nat hook postrouting priority 100; }'; "
        "nft add rule ip t out ip saddr 10.7.0.0/16 ip daddr != 10.7.0.0/16 masquerade"
    )
    bastion = server(client, "bastion", user_data=_commands(translate))
    finish(bastion.attach_to_network(net, ip="10.7.1.5"))
    private = ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)
    lonely = server(
        client,
        "lonely",
        public_net=private,
        networks=[net],
        user_data=_commands("ip route replace default via 10.7.0.1"),
    )
    _, machine = ready(cloud, bastion, lonely)
    assert reaches(machine, "releases.lab", 80)
    finish(net.delete_route(NetworkRoute(destination="0.0.0.0/0", gateway="10.7.1.5")))
    assert not reaches(machine, "releases.lab", 80)


def _commands(*lines: str) -> str:
    return "#cloud-config\n" + json.dumps({"runcmd": [["sh", "-c", line] for line in lines]})


def test_a_new_server_with_the_addresses_of_one_before_is_reached_at_once(scene: Scene) -> None:
    client, cloud = scene.client, scene.cloud
    net = client.networks.get_by_name("one")
    assert net
    second = scene.machines["second"]
    for name in ("before", "after"):
        made = server(client, name)
        finish(made.attach_to_network(net, ip="10.0.1.99"))
        machine = ready(cloud, made)[0]
        assert reaches(second, "10.0.1.99", 22)
        assert machine.answers(2)
        finish(made.delete())
