"""The hcloud stand-in: the API requests of each resource, and its state afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from lab.plugins.wire import UNKNOWN, Change, Secret
from tests.support.hcloud_client import HcloudClient, hcloud
from tests.support.hetzner_account import HetznerAccount, account, served
from tests.support.plugin_client import lives, refused

__all__ = ["account", "served"]

NETWORK = {"name": "dev", "ipRange": "10.0.0.0/16", "labels": {"cluster": "dev"}}
SERVER = {"name": "etcd-1", "serverType": "cx23", "image": "debian-12", "location": "fsn1"}
KEY = {
    "name": "operator",
    "publicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7vYbrmQ1nq0S9RzJc8mZt1o5yC2oB0sVYkq8nKqQxA a\n",
}
RULE = {"direction": "in", "protocol": "tcp", "port": "22", "sourceIps": ["192.0.2.1", "2001:DB8::/32"]}
PRIVATE = {"publicNets": [{"ipv4Enabled": False, "ipv6Enabled": False}]}


@pytest.fixture(scope="module")
def configured(served: HetznerAccount) -> Iterator[HcloudClient]:
    with hcloud(served) as client:
        yield client


@pytest.fixture
def plugin(configured: HcloudClient, account: HetznerAccount) -> HcloudClient:
    return configured


def new_subnet(plugin: HcloudClient, name: str = "dev", ip_range: str = "10.0.1.0/24") -> tuple[int, str]:
    """Create a network and a subnet; returns the network's number and the subnet's id."""
    ranges = {"ipRange": ip_range.replace("1.0/24", "0.0/16")}
    network = int(plugin.of("Network").create({**NETWORK, "name": name, **ranges})[0])
    given = {"networkId": network, "type": "cloud", "networkZone": "eu-central", "ipRange": ip_range}
    return network, plugin.of("NetworkSubnet").create(given)[0]


def dies_twice(plugin: HcloudClient, kind: str, state: dict[str, Any]) -> None:
    """Delete what is gone already, which only some types accept."""
    refuses = kind in ("Server", "PlacementGroup")
    with pytest.raises(grpc.RpcError, match="not_found") if refuses else contextlib.nullcontext():
        plugin.of(kind).delete(state)


def test_a_preview_sends_no_requests(plugin: HcloudClient, account: HetznerAccount) -> None:
    identity, state = plugin.of("Server").create({**SERVER, "placementGroupId": UNKNOWN}, preview=True)
    assert identity == ""
    assert (state["ipv4Address"], state["status"], state["placementGroupId"]) == (UNKNOWN, UNKNOWN, UNKNOWN)
    assert state["image"] == "debian-12"
    assert account.requests == []


@pytest.mark.parametrize(
    ("kind", "inputs", "changed"),
    [
        ("Network", NETWORK, {"name": "prod", "labels": {"cluster": "prod"}}),
        ("SshKey", KEY, {"labels": {"a": "b"}}),
        ("PlacementGroup", {"name": "dev", "type": "spread"}, {"name": "prod"}),
        ("Firewall", {"name": "dev", "rules": [RULE]}, {"rules": [{**RULE, "port": "2379"}], "labels": {"a": "b"}}),
        ("Volume", {"name": "dev", "size": 10, "location": "fsn1"}, {"size": 20, "labels": {"a": "b"}}),
        ("Server", SERVER, {"name": "etcd-one", "labels": {"a": "b"}}),
    ],
)
def test_a_resource_is_created_changed_in_place_and_deleted(
    plugin: HcloudClient, account: HetznerAccount, kind: str, inputs: dict[str, Any], changed: dict[str, Any]
) -> None:
    state = lives(plugin.of(kind), inputs, **changed)
    dies_twice(plugin, kind, state)
    assert {name: state[name] for name in changed} == changed
    assert account.left() == {}


def test_network_parts_are_identified_by_network_and_range(plugin: HcloudClient, account: HetznerAccount) -> None:
    network, subnet = new_subnet(plugin)
    assert subnet == f"{network}-10.0.1.0/24"
    part = {"networkId": network, "type": "cloud", "networkZone": "eu-central", "ipRange": "10.0.2.0/24"}
    assert lives(plugin.of("NetworkSubnet"), part)["gateway"] == "10.0.0.1"
    route = {"networkId": network, "destination": "0.0.0.0/0", "gateway": "10.0.1.2"}
    assert lives(plugin.of("NetworkRoute"), route)["id"] == f"{network}-0.0.0.0/0"
    assert plugin.of("NetworkRoute").diff({}, route, {**route, "gateway": "10.0.1.3"}) == {
        "gateway": Change.UPDATE_REPLACE
    }


def test_a_firewalls_addresses_can_be_in_any_order(plugin: HcloudClient, account: HetznerAccount) -> None:
    walls = plugin.of("Firewall")
    ping = {"direction": "in", "protocol": "icmp", "sourceIps": ["0.0.0.0/0"], "description": "ping"}
    given = {"name": "wall", "rules": [RULE, ping]}
    _, state = walls.create(given)
    assert account.asked("firewalls")[0]["rules"][0]["source_ips"] == ["192.0.2.1/32", "2001:db8::/32"]
    assert state["rules"] == [RULE, ping]
    assert walls.diff(state, given, {"name": "wall", "rules": [ping, RULE]}) == {}
    changes = walls.diff(state, given, {"name": "wall", "rules": [{**RULE, "port": "2379"}]})
    assert set(changes) == {"rules[0].port", "rules[1]"}


def test_a_firewall_is_detached_before_it_is_deleted(plugin: HcloudClient, account: HetznerAccount) -> None:
    wall, state = plugin.of("Firewall").create({"name": "wall", "rules": [RULE]})
    plugin.of("Server").create({**SERVER, "firewallIds": [int(wall)]})
    plugin.of("Firewall").delete(state)
    assert set(account.left()) == {"servers", "primary_ips"}


def test_an_attachment_is_no_change_of_the_volume(plugin: HcloudClient, account: HetznerAccount) -> None:
    server = int(plugin.of("Server").create(SERVER)[0])
    given = {"name": "data", "size": 10, "location": "fsn1"}
    identity, state = plugin.of("Volume").create(given)
    assert state["linuxDevice"] == f"/dev/disk/by-id/scsi-0HC_Volume_{identity}"
    attachment = {"volumeId": int(identity), "serverId": server, "automount": False}
    assert lives(plugin.of("VolumeAttachment"), attachment)["id"] == identity
    plugin.of("VolumeAttachment").create(attachment)
    _, seen, inputs = plugin.of("Volume").read(identity, state, given)
    assert plugin.of("Volume").diff(seen, inputs, given) == {}
    plugin.of("Volume").delete(state)
    assert "volumes" not in account.left()


# -- servers ----------------------------------------------------------------------------------------------------------


def test_a_servers_request_has_ids_instead_of_names(plugin: HcloudClient, account: HetznerAccount) -> None:
    _, subnet = new_subnet(plugin)
    key, _ = plugin.of("SshKey").create(KEY)
    group = int(plugin.of("PlacementGroup").create({"name": "dev", "type": "spread"})[0])
    networks = [{"subnetId": subnet, "ip": "10.0.1.11"}]
    more = {"sshKeys": ["operator"], "placementGroupId": group, "userData": "#cloud-config\n", "networks": networks}
    identity, state = plugin.of("Server").create({**SERVER, **more})
    (body,) = account.asked("servers")
    assert (body["ssh_keys"], body["placement_group"], body["image"]) == ([int(key)], group, 114690387)
    assert (body["user_data"], body["server_type"], body["location"]) == ("#cloud-config\n", "cx23", "fsn1")
    assert "public_net" not in body
    # As with the official plugin, the state has only a digest.
    assert state["userData"] == "wK9leoEi2xH7hUH5D+q3hxwsPXE="
    assert state["ipv6Address"].endswith("::1")
    assert (state["status"], state["primaryDiskSize"], state["location"]) == ("running", 40, "fsn1")
    (network,) = state["networks"]
    assert (network["ip"], network["subnetId"], network["aliasIps"]) == ("10.0.1.11", subnet, [])
    assert account.asked(f"servers/{identity}/actions/attach_to_network")[0]["ip_range"] == "10.0.1.0/24"


def test_the_image_fits_the_architecture_of_the_server_type(plugin: HcloudClient, account: HetznerAccount) -> None:
    plugin.of("Server").create({**SERVER, "serverType": "cax11"})
    assert account.one("servers")["image"]["architecture"] == "arm"
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("Server").create({**SERVER, "name": "b", "serverType": "cax11", "image": "debian-1"})
    assert refused(error) == "image debian-1 for architecture arm not found"


def test_a_private_server_starts_once_it_has_its_address(plugin: HcloudClient, account: HetznerAccount) -> None:
    _, subnet = new_subnet(plugin)
    identity, state = plugin.of("Server").create({**SERVER, **PRIVATE, "networks": [{"subnetId": subnet}]})
    asked = [path.rpartition("/")[2] for _, path, _ in account.requests if path.startswith(f"servers/{identity}/")]
    assert asked == ["attach_to_network", "poweron"]
    assert (state["status"], state["ipv4Address"], state["ipv6Network"]) == ("running", "", "<nil>")


def test_a_server_that_never_becomes_ready_stays_in_the_state(plugin: HcloudClient, account: HetznerAccount) -> None:
    account.machines.broken = True
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("Server").create(SERVER)
    assert "no disk (action_failed, create_server, action" in refused(error)
    (details,) = [value for key, value in error.value.trailing_metadata() if key == "grpc-status-details-bin"]
    assert b"pulumirpc.ErrorResourceInitFailed" in details
    assert str(account.one("servers")["id"]).encode() in details


@pytest.mark.parametrize(
    ("name", "value"),
    [("image", "ubuntu-24.04"), ("location", "nbg1"), ("userData", "#cloud-config"), ("sshKeys", ["other"])],
)
def test_an_immutable_property_replaces_the_server(plugin: HcloudClient, name: str, value: object) -> None:
    changes = plugin.of("Server").diff({}, SERVER, {**SERVER, name: value})
    assert [path.partition("[")[0] for path, change in changes.items() if change & 1] == [name]


@pytest.mark.parametrize(
    "changed", [{"serverType": "cx33"}, {"publicNets": PRIVATE["publicNets"]}, {"placementGroupId": 7}], ids=str
)
def test_unserved_changes_in_place_are_refused(plugin: HcloudClient, changed: dict[str, Any]) -> None:
    _, state = plugin.of("Server").create(SERVER)
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("Server").update(state, {**SERVER, **changed})
    assert f"{next(iter(changed))}: this stand-in cannot change it" in refused(error)


def test_properties_that_the_program_drops_stay(plugin: HcloudClient) -> None:
    less = {key: known for key, known in SERVER.items() if key not in ("image", "location")}
    old = {**SERVER, "networks": [{"subnetId": "1-10.0.0.0/24"}], "firewallIds": [1], **PRIVATE}
    assert plugin.of("Server").diff({}, old, less) == {}


def test_networks_and_firewalls_of_a_server_change_in_place(plugin: HcloudClient, account: HetznerAccount) -> None:
    servers = plugin.of("Server")
    _, one = new_subnet(plugin)
    _, two = new_subnet(plugin, "two", "10.2.1.0/24")
    old_wall, new_wall = (int(plugin.of("Firewall").create({"name": n, "rules": [RULE]})[0]) for n in ("old", "new"))
    old = {**SERVER, "networks": [{"subnetId": one, "ip": "10.0.1.11"}], "firewallIds": [old_wall]}
    identity, state = servers.create(old)
    new = {**SERVER, "networks": [{"subnetId": two}, {"subnetId": one, "ip": "10.0.1.12"}], "firewallIds": [new_wall]}
    assert not any(change & 1 for change in servers.diff(state, old, new).values())
    state = servers.update(state, new)
    assert [network["subnetId"] for network in state["networks"]] == [two, one]
    assert (state["networks"][1]["ip"], state["firewallIds"]) == ("10.0.1.12", [new_wall])
    _, seen, inputs = servers.read(identity, state, new)
    assert (seen, servers.diff(seen, inputs, new)) == (state, {})


def test_a_server_can_be_shut_down_before_its_deletion(plugin: HcloudClient, account: HetznerAccount) -> None:
    _, state = plugin.of("Server").create({**SERVER, "shutdownBeforeDeletion": True})
    plugin.of("Server").delete(state)
    assert [path.rpartition("/")[2] for _, path, _ in account.requests[-2:]] == ["shutdown", state["id"]]
    assert account.left() == {}


# -- refresh ----------------------------------------------------------------------------------------------------------


def test_drift_is_detected_and_corrected(plugin: HcloudClient, account: HetznerAccount) -> None:
    _, subnet = new_subnet(plugin)
    given = {**SERVER, "labels": {"a": "b"}, "networks": [{"subnetId": subnet, "ip": "10.0.1.11"}]}
    identity, state = plugin.of("Server").create(given)
    account.one("servers").update({"labels": {"a": "c"}, "private_net": []})
    _, seen, inputs = plugin.of("Server").read(identity, state, given)
    assert (seen["labels"], seen["networks"], inputs["labels"]) == ({"a": "c"}, [], {"a": "c"})
    assert set(plugin.of("Server").diff(seen, inputs, given)) == {"labels.a", "networks[0]"}
    after = plugin.of("Server").update(seen, given)
    assert (after["labels"], after["networks"][0]["ip"]) == ({"a": "b"}, "10.0.1.11")


def test_an_added_label_is_drift(plugin: HcloudClient, account: HetznerAccount) -> None:
    given = {"name": "dev", "ipRange": "10.0.0.0/16"}
    identity, state = plugin.create(given)
    account.one("networks")["labels"] = {"x": ""}
    _, seen, inputs = plugin.read(identity, state, given)
    assert plugin.diff(seen, inputs, given) == {"labels": Change.DELETE}
    assert plugin.update(seen, given)["labels"] == {}


def test_a_secret_input_is_secret_in_the_state(plugin: HcloudClient) -> None:
    servers = plugin.of("Server")
    given = {**SERVER, "userData": Secret("#cloud-config"), "labels": {"a": Secret("b")}}
    identity, state = servers.create(given)
    assert isinstance(state["userData"], Secret)
    assert isinstance(state["labels"], Secret)
    _, seen, inputs = servers.read(identity, state, given)
    assert isinstance(seen["userData"], Secret)
    assert inputs["userData"] == Secret("#cloud-config")
    assert servers.diff(seen, inputs, given) == {}


# -- functions --------------------------------------------------------------------------------------------------------


GET_SERVER_TYPE = "hcloud:index/getServerType:getServerType"


def test_a_server_types_memory_is_available(plugin: HcloudClient) -> None:
    about = plugin.invoke(GET_SERVER_TYPE, name="cx33")
    assert (about["name"], about["memory"], about["architecture"]) == ("cx33", 8, "x86")


def test_an_unknown_server_type_fails(plugin: HcloudClient) -> None:
    with pytest.raises(grpc.RpcError) as error:
        plugin.invoke(GET_SERVER_TYPE, name="none")
    assert "Resource (server type) was not found: name=none" in refused(error)
