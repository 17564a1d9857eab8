"""The Hetzner emulator as an API, through the official client, without machines: life cycles and refusals."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hcloud import Client
from hcloud.firewalls import BoundFirewall, FirewallResource, FirewallRule
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.networks import BoundNetwork, NetworkRoute, NetworkSubnet
from hcloud.placement_groups import BoundPlacementGroup
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer
from hcloud.servers.domain import Server, ServerCreatePublicNetwork
from hcloud.volumes import BoundVolume

from tests.support.clouds import CX, DEBIAN, FSN, finish, names, network, refused, server
from tests.support.hetzner_account import TOKEN, HetznerAccount, account, served

__all__ = ["account", "served"]

PRIVATE = ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)
KEYS = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7vYbrmQ1nq0S9RzJc8mZt1o5yC2oB0sVYkq8nKqQxA a",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7vYbrmQ1nq0S9RzJc8mZt1o5yC2oB0sVYkq8nKqQxB b",
)
RULE: dict[str, Any] = {"direction": "in", "protocol": "tcp", "source_ips": ["0.0.0.0/0"], "port": "22"}


@pytest.fixture
def client(account: HetznerAccount) -> Client:
    return account.client()


def subnet(ip_range: str, zone: str = "eu-central", kind: Any = "cloud") -> NetworkSubnet:
    return NetworkSubnet(type=kind, network_zone=zone, ip_range=ip_range)


def route(destination: str, gateway: str = "10.0.1.5") -> NetworkRoute:
    return NetworkRoute(destination=destination, gateway=gateway)


def on(number: int | None) -> FirewallResource:
    return FirewallResource(type="server", server=Server(id=number or 0))


def off(client: Client, name: str, **options: Any) -> BoundServer:
    return server(client, name, start_after_create=False, **options)


def volume(client: Client, name: str = "data", size: int = 10, **options: Any) -> BoundVolume:
    return client.volumes.create(size, name, **{"location": FSN, **options}).volume


# -- all kinds of resources -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("POST", "/networks", b"{", 400),
        ("POST", "/networks", b"[]", 400),
        ("GET", "/networks/1", None, 404),
        ("GET", "/nonsense", None, 404),
        ("DELETE", "/networks", None, 405),
        ("GET", "/actions", None, 410),
        ("POST", "/networks", b"{}", 422),
    ],
)
def test_a_wrong_request_is_refused_with_the_documented_status(
    account: HetznerAccount, method: str, path: str, data: bytes | None, status: int
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(account.endpoint + path, data, headers, method=method)  # noqa: S310 - loopback
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310
    assert caught.value.code == status
    assert b'"code":' in caught.value.read()


def test_another_token_is_refused(account: HetznerAccount) -> None:
    with refused("unauthorized"):
        account.client("x" * 64).servers.get_all()


def test_lists_are_paged_and_filtered_by_name(client: Client) -> None:
    for number in range(7):
        client.placement_groups.create(f"group-{number}", "spread")
    page = client.placement_groups.get_list(page=2, per_page=3)
    assert names(page.placement_groups) == ["group-3", "group-4", "group-5"]
    pagination = page.meta.pagination
    assert pagination
    assert (pagination.previous_page, pagination.next_page, pagination.last_page) == (1, 3, 3)
    assert len(client.placement_groups.get_all()) == 7
    found = client.placement_groups.get_by_name("group-6")
    assert found
    assert found.name == "group-6"


def test_offers_are_listed_with_the_fields_that_checks_need(client: Client) -> None:
    zones = {location.name: location.network_zone for location in client.locations.get_all()}
    assert zones["fsn1"] == zones["hel1"] == "eu-central"
    assert zones["ash"] == "us-east"
    kinds = {kind.name: kind for kind in client.server_types.get_all()}
    assert (kinds["cx23"].architecture, kinds["cax11"].architecture) == ("x86", "arm")
    assert client.images.get_by_name_and_architecture("debian-12", "arm")
    arm = off(client, "arm", server_type=ServerType(name="cax11"))
    assert arm.image
    assert arm.image.architecture == "arm"


def test_an_action_is_running_at_first_and_locks_its_server(client: Client, account: HetznerAccount) -> None:
    net = network(client)
    account.machines.goes_on.clear()
    response = client.servers.create("one", CX, DEBIAN)
    action, made = response.action, response.server
    assert (action.status, action.progress, action.command) == ("running", 0, "create_server")
    assert made.locked
    for ask in (lambda: made.attach_to_network(net), made.delete, made.power_off):
        with refused("locked"):
            ask()  # type: ignore[no-untyped-call]
    account.machines.goes_on.set()
    finish(action, *(response.next_actions or []))
    assert (action.status, action.progress) == ("success", 100)
    made.reload()
    assert (made.locked, made.status) == (False, "running")


# -- life cycles ------------------------------------------------------------------------------------------------------


def test_a_network_is_created_changed_and_deleted(client: Client, account: HetznerAccount) -> None:
    made = client.networks.create("net", "10.0.0.0/16", labels={"cluster": "dev"})
    finish(made.add_subnet(subnet("10.0.1.0/24")), made.add_subnet(subnet("10.0.0.0/24")))
    finish(made.add_route(route("0.0.0.0/0")))
    one = off(client, "one", networks=[made])
    assert [each.ip for each in one.private_net or []] == ["10.0.1.1"], "the last subnet first, as in the real service"
    made.reload()
    assert [(each.ip_range, each.gateway) for each in made.subnets or []] == [
        ("10.0.1.0/24", "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.1"),
    ]
    assert [each.gateway for each in made.routes or []] == ["10.0.1.5"]
    assert [each.id for each in made.servers or []] == [one.id]
    finish(made.delete_route(route("0.0.0.0/0")), made.delete_subnet(subnet("10.0.0.0/24")))
    assert made.update(name="other", labels={"cluster": "new"}).labels == {"cluster": "new"}
    made.reload()
    assert (made.name, made.routes, len(made.subnets or [])) == ("other", [], 1)
    made.delete()
    one.reload()
    assert one.private_net == [], "its servers are detached"
    assert "networks" not in account.left()


# -- refusals ---------------------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """Three servers, all off: one in a network with a firewall and a volume, one without them, one private."""

    client: Client
    net: BoundNetwork
    same: BoundNetwork
    empty: BoundNetwork
    full: BoundPlacementGroup
    one: BoundServer
    bare: BoundServer
    private: BoundServer
    wall: BoundFirewall
    disk: BoundVolume

    def create(self, **wrong: Any) -> Any:
        return self.client.servers.create(**{"name": "new", "server_type": CX, "image": DEBIAN, **wrong})

    def rule(self, **wrong: Any) -> Any:
        return self.wall.set_rules([FirewallRule(**{**RULE, **wrong})])


@pytest.fixture(scope="module")
def scene(served: HetznerAccount) -> Scene:
    """Shared by all tests: a refused request changes nothing."""
    served.clear()
    client = served.client()
    net = network(client)
    same, empty = (client.networks.create(n, r) for n, r in (("same", "10.0.0.0/16"), ("empty", "192.168.0.0/16")))
    finish(net.add_route(route("10.0.9.0/24")))
    client.ssh_keys.create("key", KEYS[0])
    full = client.placement_groups.create("full", "spread").placement_group
    for number in range(10):
        off(client, f"full-{number}", placement_group=full)
    one, bare = off(client, "one"), off(client, "bare")
    finish(one.attach_to_network(net, ip="10.0.1.10"))
    private = off(client, "private", public_net=PRIVATE)
    wall = client.firewalls.create("wall", resources=[on(one.id)]).firewall
    disk = volume(client)
    finish(disk.attach(one))
    return Scene(client, net, same, empty, full, one, bare, private, wall, disk)


BAD = "invalid_input"
_WRONG_RULES: tuple[dict[str, Any], ...] = (
    {"protocol": "gre"},
    {"port": None},
    {"port": "0"},
    {"port": "65536"},
    {"port": "90-80"},
    {"port": "ssh"},
    {"protocol": "icmp"},
    {"source_ips": []},
    {"source_ips": ["10.0.0.1/24"]},
    {"source_ips": ["10.0.0.1"]},
    {"destination_ips": ["10.0.0.0/8"]},
    {"direction": "out"},
)
REFUSALS: dict[str, tuple[str, Callable[[Scene], Any]]] = {
    "labels": (BAD, lambda s: s.net.update(labels={"a": "b c"})),
    "a long label": (BAD, lambda s: s.net.update(labels={"x" * 64: ""})),
    "a reserved label": (BAD, lambda s: s.net.update(labels={"hetzner.cloud/a": ""})),
    "an empty name": (BAD, lambda s: s.client.networks.create("", "10.0.0.0/16")),
    "page zero": (BAD, lambda s: s.client.networks.get_list(page=0)),
    "a label selector": (BAD, lambda s: s.client.networks.get_all(label_selector="a=b")),
    "a name that is used": ("uniqueness_error", lambda s: s.client.networks.create("net", "10.1.0.0/16")),
    "a new name that is used": ("uniqueness_error", lambda s: s.net.update(name="same")),
    "a location without that id": ("not_found", lambda s: s.client.locations.get_by_id(99)),
    "an action without that id": ("not_found", lambda s: s.client.actions.get_by_id(1)),
    # networks
    "a public range": (BAD, lambda s: s.client.networks.create("new", "8.8.0.0/16")),
    "a small range": (BAD, lambda s: s.client.networks.create("new", "10.0.0.0/25")),
    "a range with host bits": (BAD, lambda s: s.client.networks.create("new", "10.0.0.1/16")),
    "a range of IPv6": (BAD, lambda s: s.client.networks.create("new", "fd00::/64")),
    "a subnet outside": (BAD, lambda s: s.net.add_subnet(subnet("10.1.0.0/24"))),
    "a subnet that overlaps": (BAD, lambda s: s.net.add_subnet(subnet("10.0.1.128/25"))),
    "a subnet that is too small": (BAD, lambda s: s.net.add_subnet(subnet("10.0.2.0/31"))),
    "a subnet of an unknown zone": (BAD, lambda s: s.net.add_subnet(subnet("10.0.2.0/24", zone="eu-west"))),
    "a subnet of another type": (BAD, lambda s: s.net.add_subnet(subnet("10.0.2.0/24", kind="vswitch"))),
    "a subnet that is routed": (BAD, lambda s: s.net.add_subnet(subnet("10.0.9.0/24"))),
    "a subnet in use": ("service_error", lambda s: s.net.delete_subnet(subnet("10.0.1.0/24"))),
    "no such subnet": ("not_found", lambda s: s.net.delete_subnet(subnet("10.0.77.0/24"))),
    "the router as gateway": (BAD, lambda s: s.net.add_route(route("0.0.0.0/0", "10.0.0.1"))),
    "a gateway outside": (BAD, lambda s: s.net.add_route(route("0.0.0.0/0", "10.1.0.1"))),
    "a route to a subnet": (BAD, lambda s: s.net.add_route(route("10.0.1.0/25"))),
    "a route that is there": (BAD, lambda s: s.net.add_route(route("10.0.9.0/24"))),
    "no such route": ("not_found", lambda s: s.net.delete_route(route("192.168.0.0/24"))),
    # keys and groups
    "a key that is there": ("uniqueness_error", lambda s: s.client.ssh_keys.create("new", f"{KEYS[0]} again")),
    "a key's name that is used": ("uniqueness_error", lambda s: s.client.ssh_keys.create("key", KEYS[1])),
    "an invalid key": (BAD, lambda s: s.client.ssh_keys.create("new", "ssh-ed25519 AAAA")),
    "a key of another type": (BAD, lambda s: s.client.ssh_keys.create("new", KEYS[1].replace("ed25519", "rsa", 1))),
    "another type of group": (BAD, lambda s: s.client.placement_groups.create("new", "cluster")),
    "a group in use": ("resource_in_use", lambda s: s.full.delete()),
    "an eleventh server of a group": ("placement_error", lambda s: s.create(placement_group=s.full)),
    # servers
    "a name with underscore": (BAD, lambda s: s.create(name="under_score")),
    "a name with a dash first": (BAD, lambda s: s.create(name="-one")),
    "a server's name that is used": ("uniqueness_error", lambda s: s.create(name="one")),
    "an unknown server type": (BAD, lambda s: s.create(server_type=ServerType(name="cx1"))),
    "a server type not sold there": (
        BAD,
        lambda s: s.create(server_type=ServerType(name="cax11"), location=Location(name="ash")),
    ),
    "an unknown image": (BAD, lambda s: s.create(image=Image(name="debian-1"))),
    "an image of another architecture": (BAD, lambda s: s.create(image=Image(id=114690389))),
    "an unknown location": (BAD, lambda s: s.create(location=Location(name="fsn9"))),
    "long user data": (BAD, lambda s: s.create(user_data="x" * (32 * 1024 + 1))),
    "no network at all": (BAD, lambda s: s.create(public_net=PRIVATE)),
    "volumes of a new server": (BAD, lambda s: s.create(volumes=[s.disk])),
    "power without a network": ("service_error", lambda s: s.private.power_on()),
    # attachments
    "the network's gateway": (BAD, lambda s: s.bare.attach_to_network(s.net, ip="10.0.0.1")),
    "a subnet's first address": ("ip_not_available", lambda s: s.bare.attach_to_network(s.net, ip="10.0.1.0")),
    "a subnet's last address": ("ip_not_available", lambda s: s.bare.attach_to_network(s.net, ip="10.0.1.255")),
    "an address that is taken": ("ip_not_available", lambda s: s.bare.attach_to_network(s.net, ip="10.0.1.10")),
    "an address outside": (BAD, lambda s: s.bare.attach_to_network(s.net, ip="10.0.2.10")),
    "no address": (BAD, lambda s: s.bare.attach_to_network(s.net, ip="nonsense")),
    "no subnet": (BAD, lambda s: s.bare.attach_to_network(s.net, ip_range="10.0.3.0/24")),
    "alias addresses": (BAD, lambda s: s.bare.attach_to_network(s.net, alias_ips=["10.0.1.99"])),
    "attached already": ("server_already_attached", lambda s: s.one.attach_to_network(s.net)),
    "networks that overlap": ("networks_overlap", lambda s: s.one.attach_to_network(s.same)),
    "a network without subnet": ("no_subnet_available", lambda s: s.one.attach_to_network(s.empty)),
    "no subnet in that zone": (
        "no_subnet_available",
        lambda s: s.create(server_type=ServerType(name="ccx13"), location=Location(name="ash"), networks=[s.net]),
    ),
    "not attached": ("not_found", lambda s: s.bare.detach_from_network(s.net)),
    # firewalls
    **{f"a rule with {wrong}": (BAD, partial(Scene.rule, **wrong)) for wrong in _WRONG_RULES},
    "too many addresses": (BAD, lambda s: s.rule(source_ips=[f"10.{n}.0.0/16" for n in range(101)])),
    "a long description": (BAD, lambda s: s.rule(description="x" * 256)),
    "too many rules": (BAD, lambda s: s.wall.set_rules([FirewallRule(**RULE)] * 51)),
    "a long name": (BAD, lambda s: s.client.firewalls.create("x" * 129)),
    "a firewall in use": ("resource_in_use", lambda s: s.wall.delete()),
    "no server": ("firewall_resource_not_found", lambda s: s.wall.apply_to_resources([on(1)])),
    "off no server": ("firewall_resource_not_found", lambda s: s.wall.remove_from_resources([on(1)])),
    "a server twice": ("server_already_added", lambda s: s.wall.apply_to_resources([on(s.bare.id), on(s.bare.id)])),
    "applied already": ("firewall_already_applied", lambda s: s.wall.apply_to_resources([on(s.one.id)])),
    "a private server": ("private_net_only_server", lambda s: s.wall.apply_to_resources([on(s.private.id)])),
    "a new private server": (
        "private_net_only_server",
        lambda s: s.create(public_net=PRIVATE, networks=[s.net], firewalls=[s.wall]),
    ),
    # volumes
    "a small volume": (BAD, lambda s: volume(s.client, "new", size=9)),
    "a large volume": (BAD, lambda s: volume(s.client, "new", size=10241)),
    "a wrong name of a volume": (BAD, lambda s: volume(s.client, "-data")),
    "a volume's name that is used": ("uniqueness_error", lambda s: volume(s.client)),
    "a volume in an unknown location": (BAD, lambda s: volume(s.client, "new", location=Location(name="fsn9"))),
    "a volume with a file system": (BAD, lambda s: volume(s.client, "new", format="ext4")),
    "a volume that shrinks": (BAD, lambda s: s.disk.resize(10)),
    "a volume in use": ("volume_already_attached", lambda s: s.disk.delete()),
    "a volume attached already": ("volume_already_attached", lambda s: s.disk.attach(s.bare)),
    "a volume in another location": (
        BAD,
        lambda s: (
            s.client.volumes.get_by_name("far") or volume(s.client, "far", location=Location(name="hel1"))
        ).attach(s.bare),
    ),
    "a volume that is not attached": (
        "service_error",
        lambda s: (s.client.volumes.get_by_name("free") or volume(s.client, "free")).detach(),
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_invalid_requests_are_refused_like_the_real_api(scene: Scene, what: str) -> None:
    code, ask = REFUSALS[what]
    with refused(code):
        ask(scene)
