"""The stand-in for the plugin hcloud: what each resource asks of the API, and what it says of it afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from lab.plugins.wire import UNKNOWN, Change, Secret
from tests.support.fake_hcloud import FakeHcloud
from tests.support.hcloud_client import HcloudClient, hcloud
from tests.support.plugin_client import refused

NETWORK = {"ipRange": "10.0.0.0/16"}
SERVER = {"name": "etcd-1", "serverType": "cx23", "image": "debian-12", "location": "fsn1"}
KEY = {"publicKey": "ssh-ed25519 AAAA a\n"}
RULE = {"direction": "in", "protocol": "tcp", "port": "22", "sourceIps": ["192.0.2.1", "2001:DB8::/32"]}
PRIVATE = {"publicNets": [{"ipv4Enabled": False, "ipv6Enabled": False}]}


@pytest.fixture
def cloud() -> Iterator[FakeHcloud]:
    fake = FakeHcloud()
    yield fake
    fake.close()


@pytest.fixture
def plugin(cloud: FakeHcloud) -> Iterator[HcloudClient]:
    with hcloud(cloud) as client:
        yield client


def new_subnet(plugin: HcloudClient, ip_range: str = "10.0.1.0/24") -> tuple[int, str]:
    """The network's number and the subnet's id."""
    network = int(plugin.of("Network").create(NETWORK)[0])
    given = {"networkId": network, "type": "cloud", "networkZone": "eu-central", "ipRange": ip_range}
    return network, plugin.of("NetworkSubnet").create(given)[0]


# -- one by one -------------------------------------------------------------------------------------------------------


def test_a_network_is_made_with_a_name_of_its_own(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    identity, state = plugin.create({**NETWORK, "labels": {"cluster": "dev"}})
    row = cloud.one("networks")
    assert identity == str(row["id"])
    assert row["name"].startswith("thing-")
    assert len(row["name"]) == len("thing-") + 7
    assert state == {
        "id": identity,
        "name": row["name"],
        "ipRange": "10.0.0.0/16",
        "labels": {"cluster": "dev"},
        "deleteProtection": False,
        "exposeRoutesToVswitch": False,
    }


def test_a_name_that_was_made_up_stays(plugin: HcloudClient) -> None:
    first = plugin.check(NETWORK)
    assert plugin.check({**NETWORK, "labels": {"a": "b"}}, first)["name"] == first["name"]
    assert plugin.check(NETWORK)["name"] != first["name"]
    assert plugin.check(NETWORK, plugin.check({**NETWORK, "name": "mine"}))["name"] != "mine"


def test_a_preview_asks_for_nothing(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    identity, state = plugin.of("Server").create({**SERVER, "placementGroupId": UNKNOWN}, preview=True)
    assert identity == ""
    assert (state["ipv4Address"], state["status"], state["placementGroupId"]) == (UNKNOWN, UNKNOWN, UNKNOWN)
    assert state["image"] == "debian-12"
    assert cloud.requests == []


def test_a_subnet_has_the_id_of_its_network_and_range(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    network, subnet = new_subnet(plugin)
    assert subnet == f"{network}-10.0.1.0/24"
    _, state, _ = plugin.of("NetworkSubnet").read(subnet)
    assert (state["gateway"], state["networkId"], state["type"]) == ("10.0.1.1", network, "cloud")
    plugin.of("NetworkSubnet").delete(state)
    assert cloud.one("networks")["subnets"] == []
    plugin.of("NetworkSubnet").delete(state)


def test_a_route_has_the_id_of_its_network_and_destination(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    network, _ = new_subnet(plugin)
    routes = plugin.of("NetworkRoute")
    given = {"networkId": network, "destination": "0.0.0.0/0", "gateway": "10.0.1.2"}
    identity, state = routes.create(given)
    assert identity == f"{network}-0.0.0.0/0"
    assert routes.read(identity, state, given) == (identity, state, given)
    assert routes.diff(state, given, {**given, "gateway": "10.0.1.3"}) == {"gateway": Change.UPDATE_REPLACE}
    routes.delete(state)
    routes.delete(state)
    assert cloud.one("networks")["routes"] == []


def test_an_ssh_key_keeps_its_text_whatever_the_api_makes_of_its_last_newline(plugin: HcloudClient) -> None:
    keys = plugin.of("SshKey")
    identity, state = keys.create(KEY)
    assert (state["publicKey"], state["fingerprint"], state["labels"]) == (KEY["publicKey"], "aa:bb", {})
    inputs = keys.check(KEY)
    assert keys.read(identity, state, inputs) == (identity, state, {**inputs, "name": state["name"]})


def test_a_firewall_takes_addresses_and_ranges(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    walls = plugin.of("Firewall")
    ping = {"direction": "in", "protocol": "icmp", "sourceIps": ["0.0.0.0/0"], "description": "ping"}
    given = {"name": "wall", "rules": [RULE, ping]}
    _, state = walls.create(given)
    assert cloud.asked("firewalls")[0]["rules"][0]["source_ips"] == ["192.0.2.1/32", "2001:db8::/32"]
    assert state["rules"] == [RULE, ping]
    assert walls.diff(state, given, {"name": "wall", "rules": [ping, RULE]}) == {}
    new = {"name": "wall", "rules": [{**RULE, "port": "2379"}]}
    assert set(walls.diff(state, given, new)) == {"rules[0].port", "rules[1]"}
    assert walls.update(state, new)["rules"] == new["rules"]
    assert cloud.asked("firewalls/[0-9]+/actions/set_rules")[0]["rules"][0]["port"] == "2379"


def test_a_firewall_lets_go_of_its_servers_before_it_is_deleted(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    wall, state = plugin.of("Firewall").create({"rules": [RULE]})
    plugin.of("Server").create({**SERVER, "firewallIds": [int(wall)]})
    plugin.of("Firewall").delete(state)
    assert set(cloud.left()) == {"servers"}


def test_an_attachment_is_all_that_a_firewall_applies_to(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    wall = int(plugin.of("Firewall").create({"rules": [RULE]})[0])
    server = int(plugin.of("Server").create(SERVER)[0])
    attachments = plugin.of("FirewallAttachment")
    given = {"firewallId": wall, "serverIds": [server]}
    identity, state = attachments.create(given)
    assert (identity, state["serverIds"]) == (str(wall), [server])
    by_label = {"firewallId": wall, "labelSelectors": ["etcd=true"]}
    assert attachments.update(state, by_label)["labelSelectors"] == ["etcd=true"]
    applied = cloud.one("firewalls")["applied_to"]
    assert applied == [{"type": "label_selector", "label_selector": {"selector": "etcd=true"}}]
    attachments.delete({"id": identity, **by_label})
    assert cloud.one("firewalls")["applied_to"] == []


def test_a_volume_is_attached_grows_and_goes(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    server = int(plugin.of("Server").create(SERVER)[0])
    given = {"size": 10, "location": "fsn1", "format": "ext4", "deleteProtection": True}
    identity, state = plugin.of("Volume").create(given)
    assert state["linuxDevice"] == f"/dev/disk/by-id/scsi-0HC_Volume_{identity}"
    assert cloud.one("volumes")["protection"]["delete"]
    attached, attachment = plugin.of("VolumeAttachment").create({"volumeId": int(identity), "serverId": server})
    assert (attached, attachment["serverId"]) == (identity, server)
    # The volume's own resource says nothing about where it is attached.
    _, seen, inputs = plugin.of("Volume").read(identity, state, given)
    assert plugin.of("Volume").diff(seen, inputs, given) == {}
    bigger = {**given, "size": 20, "deleteProtection": False}
    plugin.of("Volume").update(seen, bigger)
    assert (cloud.one("volumes")["size"], cloud.one("volumes")["server"]) == (20, server)
    plugin.of("VolumeAttachment").delete(attachment)
    assert cloud.one("volumes")["server"] is None
    plugin.of("VolumeAttachment").delete(attachment)
    plugin.of("Volume").delete(state)
    assert plugin.of("VolumeAttachment").read(identity)[0] == ""
    assert set(cloud.left()) == {"servers"}


def test_a_primary_ip_is_made_and_goes(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    server = int(plugin.of("Server").create({**SERVER, **PRIVATE})[0])
    address = plugin.of("PrimaryIp")
    _, state = address.create({"type": "ipv4", "assigneeId": server, "assigneeType": "server"})
    assert state["ipAddress"].startswith("198.51.100.")
    assert cloud.one("servers")["public_net"]["ipv4"]["ip"] == state["ipAddress"]
    address.delete(state)
    assert "primary_ips" not in cloud.left()


# -- servers ----------------------------------------------------------------------------------------------------------


def test_a_server_is_asked_for_by_the_numbers_of_what_it_names(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    _, subnet = new_subnet(plugin)
    key, _ = plugin.of("SshKey").create({**KEY, "name": "operator"})
    group = int(plugin.of("PlacementGroup").create({"type": "spread"})[0])
    networks = [{"subnetId": subnet, "ip": "10.0.1.11"}]
    more = {"sshKeys": ["operator"], "placementGroupId": group, "userData": "#cloud-config\n", "networks": networks}
    identity, state = plugin.of("Server").create({**SERVER, **more})
    (body,) = cloud.asked("servers")
    assert (body["ssh_keys"], body["placement_group"], body["image"]) == ([int(key)], group, 101)
    assert (body["user_data"], body["server_type"], body["location"]) == ("#cloud-config\n", "cx23", "fsn1")
    assert "public_net" not in body
    # As with the official plugin, the state has only a digest.
    assert state["userData"] == "wK9leoEi2xH7hUH5D+q3hxwsPXE="
    assert state["ipv6Address"].endswith("::1")
    assert (state["status"], state["primaryDiskSize"], state["location"]) == ("running", 40, "fsn1")
    (network,) = state["networks"]
    assert (network["ip"], network["subnetId"], network["aliasIps"]) == ("10.0.1.11", subnet, [])
    assert cloud.asked(f"servers/{identity}/actions/attach_to_network")[0]["ip_range"] == "10.0.1.0/24"


def test_the_image_fits_the_architecture_of_the_server_type(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    plugin.of("Server").create({**SERVER, "serverType": "cax11"})
    assert cloud.one("servers")["image"]["id"] == 102
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("Server").create({**SERVER, "name": "b", "serverType": "cax11", "image": "ubuntu-24.04"})
    assert refused(error) == "image ubuntu-24.04 for architecture arm not found"


def test_a_private_server_starts_once_it_has_its_address(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    _, subnet = new_subnet(plugin)
    identity, state = plugin.of("Server").create({**SERVER, **PRIVATE, "networks": [{"subnetId": subnet}]})
    assert (cloud.asked("servers")[0]["start_after_create"], cloud.asked("servers")[0]["public_net"]) == (
        False,
        {"enable_ipv4": False, "enable_ipv6": False},
    )
    asked = [path.rpartition("/")[2] for _, path, _ in cloud.requests if path.startswith(f"servers/{identity}/")]
    assert asked == ["attach_to_network", "poweron"]
    assert (state["status"], state["ipv4Address"], state["ipv6Network"]) == ("running", "", "<nil>")


def test_a_server_that_is_made_but_does_not_get_ready_is_not_forgotten(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    cloud.failing_actions.append("create_server")
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("Server").create(SERVER)
    assert "Action failed (action_failed, create_server, action" in refused(error)
    (details,) = [value for key, value in error.value.trailing_metadata() if key == "grpc-status-details-bin"]
    assert b"pulumirpc.ErrorResourceInitFailed" in details
    assert str(cloud.one("servers")["id"]).encode() in details


def test_what_changes_in_place_changes_in_place(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    servers = plugin.of("Server")
    wall = int(plugin.of("Firewall").create({"rules": [RULE]})[0])
    identity, state = servers.create(SERVER)
    new = {
        **SERVER,
        "name": "etcd-one",
        "serverType": "cx33",
        "keepDisk": True,
        "labels": {"a": "b"},
        "firewallIds": [wall],
        "deleteProtection": True,
        "rebuildProtection": True,
    }
    changes = servers.diff(state, SERVER, new)
    assert {path.partition(".")[0].partition("[")[0] for path in changes} == set(new) - {"image", "location"}
    assert not any(change & 1 for change in changes.values())
    after = servers.update(state, new)
    assert (after["id"], after["name"], after["serverType"], after["labels"]) == (
        identity,
        "etcd-one",
        "cx33",
        {"a": "b"},
    )
    assert (after["firewallIds"], after["deleteProtection"], after["rebuildProtection"]) == ([wall], True, True)
    assert cloud.asked(".*/change_type") == [{"server_type": "cx33", "upgrade_disk": False}]
    assert servers.update(after, {**new, "labels": {}})["labels"] == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("image", "ubuntu-24.04"), ("location", "nbg1"), ("userData", "#cloud-config"), ("sshKeys", ["other"])],
)
def test_what_cannot_change_in_place_replaces_the_server(plugin: HcloudClient, name: str, value: object) -> None:
    answer = plugin.of("Server").difference({}, SERVER, {**SERVER, name: value})
    assert [path.partition("[")[0] for path in answer.replaces] == [name]
    # Names are unique: the one the program chose cannot be had twice.
    assert answer.deleteBeforeReplace
    unnamed = {key: known for key, known in SERVER.items() if key != "name"}
    assert not plugin.of("Server").difference({}, unnamed, {**unnamed, name: value}).deleteBeforeReplace


def test_what_the_program_stops_to_say_of_a_server_stays(plugin: HcloudClient) -> None:
    less = {key: known for key, known in SERVER.items() if key not in ("image", "location")}
    old = {**SERVER, "networks": [{"subnetId": "1-10.0.0.0/24"}], "firewallIds": [1], **PRIVATE}
    assert plugin.of("Server").diff({}, old, less) == {}


def test_networks_and_addresses_of_a_server_change_in_place(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    servers = plugin.of("Server")
    _, one = new_subnet(plugin)
    _, two = new_subnet(plugin, "10.0.2.0/24")
    old = {**SERVER, "networks": [{"subnetId": one, "ip": "10.0.1.11"}]}
    identity, state = servers.create(old)
    aliases = {**SERVER, "networks": [{"subnetId": one, "ip": "10.0.1.11", "aliasIps": ["10.0.1.20"]}]}
    state = servers.update(state, aliases)
    assert cloud.asked(".*/change_alias_ips")[0]["alias_ips"] == ["10.0.1.20"]
    new = {**SERVER, "networks": [{"subnetId": two}, {"subnetId": one, "ip": "10.0.1.12"}]}
    assert not any(change & 1 for change in servers.diff(state, aliases, new).values())
    state = servers.update(state, new)
    assert [network["subnetId"] for network in state["networks"]] == [two, one]
    assert state["networks"][1]["ip"] == "10.0.1.12"
    _, seen, inputs = servers.read(identity, state, new)
    assert (seen, servers.diff(seen, inputs, new)) == (state, {})


def test_a_public_address_is_given_and_taken_in_place(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    servers = plugin.of("Server")
    none = {**SERVER, **PRIVATE}
    _, state = servers.create(none)
    v4 = {**SERVER, "publicNets": [{"ipv4Enabled": True, "ipv6Enabled": False}]}
    state = servers.update(state, v4)
    assert state["ipv4Address"].startswith("198.51.100.")
    assert state["status"] == "running"
    assert servers.update(state, none)["ipv4Address"] == ""
    assert "primary_ips" not in cloud.left()


def test_a_running_server_does_not_leave_its_placement_group(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    servers = plugin.of("Server")
    group = int(plugin.of("PlacementGroup").create({"type": "spread"})[0])
    _, state = servers.create({**SERVER, "placementGroupId": group})
    with pytest.raises(grpc.RpcError) as error:
        servers.update(state, SERVER)
    assert "running server" in refused(error)
    cloud.one("servers")["status"] = "off"
    assert servers.update(state, SERVER)["placementGroupId"] == 0


def test_a_server_is_shut_down_first_where_that_is_asked(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    _, state = plugin.of("Server").create({**SERVER, "shutdownBeforeDeletion": True})
    plugin.of("Server").delete(state)
    assert [path.rpartition("/")[2] for _, path, _ in cloud.requests[-2:]] == ["shutdown", state["id"]]
    assert cloud.left() == {}


def test_a_protected_server_is_not_deleted(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    _, state = plugin.of("Server").create({**SERVER, "deleteProtection": True, "rebuildProtection": True})
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("Server").delete(state)
    assert "(protected; DELETE servers/" in refused(error)
    assert set(cloud.left()) == {"servers"}


def test_a_server_joins_and_leaves_a_network_by_a_resource_of_its_own(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    network, subnet = new_subnet(plugin)
    server = int(plugin.of("Server").create(SERVER)[0])
    joins = plugin.of("ServerNetwork")
    given = {"serverId": server, "subnetId": subnet, "ip": "10.0.1.9"}
    identity, state = joins.create(given)
    assert identity == f"{server}-{network}"
    assert (state["networkId"], state["ip"], state["macAddress"]) == (network, "10.0.1.9", "86:00:00:00:00:01")
    assert joins.diff(state, given, {**given, "ip": "10.0.1.8"}) == {"ip": Change.UPDATE_REPLACE}
    aliases = {**given, "aliasIps": ["10.0.1.20"]}
    assert joins.diff(state, given, aliases) == {"aliasIps[0]": Change.ADD}
    assert joins.update(state, aliases)["aliasIps"] == ["10.0.1.20"]
    joins.delete(state)
    joins.delete(state)
    assert cloud.one("servers")["private_net"] == []


# -- refresh and import -----------------------------------------------------------------------------------------------


def test_a_server_that_was_deleted_behind_our_back_is_read_as_gone(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    identity, state = plugin.of("Server").create(SERVER)
    cloud.rows["servers"].clear()
    assert plugin.of("Server").read(identity, state, SERVER) == ("", {}, {})
    plugin.of("Server").delete(state)


def test_drift_is_seen_and_leads_back(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    _, subnet = new_subnet(plugin)
    given = {**SERVER, "labels": {"a": "b"}, "networks": [{"subnetId": subnet, "ip": "10.0.1.11"}]}
    identity, state = plugin.of("Server").create(given)
    row = cloud.one("servers")
    row["labels"] = {"a": "c"}
    row["private_net"] = []
    _, seen, inputs = plugin.of("Server").read(identity, state, given)
    assert (seen["labels"], seen["networks"], inputs["labels"]) == ({"a": "c"}, [], {"a": "c"})
    assert set(plugin.of("Server").diff(seen, inputs, given)) == {"labels.a", "networks[0]"}
    after = plugin.of("Server").update(seen, given)
    assert (after["labels"], after["networks"][0]["ip"]) == ({"a": "b"}, "10.0.1.11")


def test_a_label_that_somebody_added_is_drift(plugin: HcloudClient, cloud: FakeHcloud) -> None:
    identity, state = plugin.create(NETWORK)
    cloud.one("networks")["labels"] = {"x": ""}
    _, seen, inputs = plugin.read(identity, state, NETWORK)
    assert plugin.diff(seen, inputs, NETWORK) == {"labels": Change.DELETE}
    assert plugin.update(seen, {**NETWORK, "name": seen["name"]})["labels"] == {}


def test_a_server_is_imported_by_its_id(plugin: HcloudClient) -> None:
    identity, _ = plugin.of("Server").create({**SERVER, "labels": {"a": "b"}})
    found, state, inputs = plugin.of("Server").read(identity)
    assert (found, state["ipv4Address"][:10]) == (identity, "203.0.113.")
    assert {**inputs, **SERVER, "labels": {"a": "b"}} == inputs
    assert plugin.of("Server").diff(state, inputs, {**SERVER, "labels": {"a": "b"}}) == {}


@pytest.mark.parametrize(
    ("kind", "identity"),
    [
        ("Server", "etcd-1"),
        ("NetworkSubnet", "12"),
        ("NetworkRoute", "12"),
        ("NetworkSubnet", "12-10.0.0.0"),
        ("ServerNetwork", "12"),
    ],
)
def test_an_id_of_another_form_is_told(plugin: HcloudClient, kind: str, identity: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        plugin.of(kind).read(identity)
    assert identity in refused(error)


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
