"""The Hetzner emulator as an API, through the official client: token, pages, labels, actions, keys, groups, offers."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hcloud import Client

from lab.clouds import HetznerCloud
from tests.support.clouds import CX, client, cloud, finish, names, new_client, public_key, refused, server

__all__ = ["client", "cloud"]


def raw(cloud: HetznerCloud, method: str, path: str, data: bytes | None = None) -> tuple[int, dict[str, str]]:
    headers = {"Authorization": f"Bearer {cloud.token}"}
    request = urllib.request.Request(cloud.endpoint + path, data, headers, method=method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return response.status, dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers)


def test_the_token_has_64_characters_and_another_one_is_refused(cloud: HetznerCloud) -> None:
    assert len(cloud.token) == 64
    with refused("unauthorized"):
        new_client(cloud, "x" * 64).servers.get_all()


def test_what_is_asked_in_a_wrong_way_is_refused_with_the_documented_status(cloud: HetznerCloud) -> None:
    assert raw(cloud, "POST", "/networks", b"{")[0] == 400
    assert raw(cloud, "GET", "/networks/1")[0] == 404
    assert raw(cloud, "GET", "/nonsense")[0] == 404
    assert raw(cloud, "DELETE", "/networks")[0] == 405
    assert raw(cloud, "GET", "/datacenters")[0] == 410
    assert raw(cloud, "GET", "/actions")[0] == 410
    assert raw(cloud, "POST", "/networks", b"{}")[0] == 422


def test_every_answer_tells_the_rate_limit_and_a_correlation_id(cloud: HetznerCloud) -> None:
    status, headers = raw(cloud, "GET", "/locations?per_page=2")
    assert status == 200
    assert headers["RateLimit-Limit"] == "3600"
    assert int(headers["RateLimit-Remaining"]) > 0
    assert int(headers["RateLimit-Reset"]) > 0
    assert headers["X-Correlation-Id"]
    assert 'page=2>; rel="next"' in headers["Link"]


def test_lists_come_in_pages(client: Client) -> None:
    for number in range(7):
        client.placement_groups.create(f"group-{number}", "spread")
    page = client.placement_groups.get_list(page=2, per_page=3)
    assert names(page.placement_groups) == ["group-3", "group-4", "group-5"]
    pagination = page.meta.pagination
    assert pagination
    assert (pagination.previous_page, pagination.next_page, pagination.last_page) == (1, 3, 3)
    assert pagination.total_entries == 7
    assert len(client.placement_groups.get_all()) == 7
    with refused("invalid_input"):
        client.placement_groups.get_list(page=0)


def test_lists_are_sorted_as_asked(client: Client) -> None:
    for name in ("b", "a", "c"):
        client.placement_groups.create(name, "spread")
    assert names(client.placement_groups.get_all(sort=["name:desc"])) == ["c", "b", "a"]
    with refused("invalid_input"):
        client.placement_groups.get_all(sort=["colour"])


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("etcd", ["one", "two"]),
        ("!etcd", ["three"]),
        ("cluster=dev", ["one"]),
        ("cluster==dev,etcd=true", ["one"]),
        ("cluster!=dev", ["two", "three"]),
        ("cluster in (dev, prod)", ["one", "two"]),
        ("cluster notin (dev)", ["two", "three"]),
        ("etcd=true,!example.com/spare", ["one"]),
    ],
)
def test_lists_are_filtered_by_label_selectors(client: Client, selector: str, found: list[str]) -> None:
    client.placement_groups.create("one", "spread", labels={"etcd": "true", "cluster": "dev"})
    client.placement_groups.create("two", "spread", labels={"etcd": "true", "cluster": "prod", "example.com/spare": ""})
    client.placement_groups.create("three", "spread")
    assert names(client.placement_groups.get_all(label_selector=selector)) == found


@pytest.mark.parametrize("selector", ["a=b=c", "in (a)", "a in b", "a b", ","])
def test_what_is_no_label_selector_is_refused(client: Client, selector: str) -> None:
    with refused("invalid_input"):
        client.placement_groups.get_all(label_selector=selector)


@pytest.mark.parametrize(
    "labels", [{"-a": ""}, {"a": "b c"}, {"a": "x" * 64}, {"x" * 64: ""}, {"hetzner.cloud/a": ""}, {"A.b/": "c"}]
)
def test_wrong_labels_are_refused(client: Client, labels: dict[str, str]) -> None:
    with refused("invalid_input"):
        client.placement_groups.create("group", "spread", labels=labels)


def test_an_ssh_key_is_made_found_changed_and_deleted(client: Client, tmp_path: Path) -> None:
    _, text = public_key(tmp_path)
    key = client.ssh_keys.create("key", text, labels={"a": "b"})
    assert client.ssh_keys.get_by_fingerprint(key.fingerprint or "") is not None
    assert client.ssh_keys.get_by_id(key.id or 0).public_key == text
    assert key.update(name="new").name == "new"
    key.delete()
    assert client.ssh_keys.get_all() == []
    with refused("not_found"):
        client.ssh_keys.get_by_id(key.id or 0)


def test_an_ssh_key_with_a_name_or_key_that_is_there_or_that_is_none_is_refused(client: Client, tmp_path: Path) -> None:
    _, text = public_key(tmp_path)
    _, second = public_key(tmp_path, "second")
    client.ssh_keys.create("key", text)
    with refused("uniqueness_error"):
        client.ssh_keys.create("key", second)
    with refused("uniqueness_error"):
        client.ssh_keys.create("other", text + " with another comment")
    for wrong in ("ssh-ed25519 AAAA", "nonsense", text.replace("ssh-ed25519", "ssh-rsa")):
        with refused("invalid_input"):
            client.ssh_keys.create("wrong", wrong)


def test_a_placement_group_is_made_changed_and_deleted_when_it_is_empty(client: Client) -> None:
    group = client.placement_groups.create("group", "spread").placement_group
    one = server(client, "one", placement_group=group, start_after_create=False)
    group.reload()
    assert group.servers == [one.id]
    assert one.placement_group
    assert one.placement_group.id == group.id
    with refused("resource_in_use"):
        group.delete()
    with refused("already_in_placement_group"):
        one.add_to_placement_group(group)
    finish(one.remove_from_placement_group())
    finish(one.add_to_placement_group(group))
    finish(one.delete())
    assert group.update(name="new").name == "new"
    group.delete()


def test_a_placement_group_of_another_type_or_with_a_used_name_is_refused(client: Client) -> None:
    client.placement_groups.create("group", "spread")
    with refused("uniqueness_error"):
        client.placement_groups.create("group", "spread")
    with refused("invalid_input"):
        client.placement_groups.create("other", "cluster")


def test_a_spread_placement_group_holds_ten_servers(client: Client) -> None:
    group = client.placement_groups.create("group", "spread").placement_group
    for number in range(10):
        server(client, f"server-{number}", placement_group=group, start_after_create=False)
    with refused("placement_error"):
        server(client, "server-10", placement_group=group, start_after_create=False)


def test_the_offers_are_listed_with_what_checks_need(client: Client) -> None:
    zones = {location.name: location.network_zone for location in client.locations.get_all()}
    assert zones["fsn1"] == zones["hel1"] == "eu-central"
    assert zones["ash"] == "us-east"
    kinds = {kind.name: kind for kind in client.server_types.get_all()}
    assert kinds["cx23"].architecture == "x86"
    assert kinds["cax11"].architecture == "arm"
    assert client.server_types.get_by_name("cx23")
    images = client.images.get_all(name="debian-12")
    assert {image.architecture for image in images} == {"x86", "arm"}
    assert client.images.get_by_name_and_architecture("debian-12", "arm")
    with refused("not_found"):
        client.locations.get_by_id(99)


def test_an_action_is_running_at_first_and_is_found_by_its_id(client: Client) -> None:
    response = client.servers.create("one", CX, client.images.get_all(name="debian-12")[0], start_after_create=False)
    action = response.action
    assert (action.status, action.progress, action.command) == ("running", 0, "create_server")
    finish(action)
    assert action.finished is not None
    assert (action.status, action.progress) == ("success", 100)
    assert [one.command for one in response.server.get_actions()] == ["create_server"]
    assert client.servers.actions.get_by_id(action.id).command == "create_server"
    with refused("not_found"):
        client.actions.get_by_id(1)
