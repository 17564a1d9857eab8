"""The hcloud stand-in: which inputs and settings it accepts, by the installed SDK's types."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pulumi_hcloud
import pytest
from pulumi.runtime.proto import provider_pb2

from lab.plugins import sdk
from lab.plugins.hcloud import VERSION, make_plugin
from lab.plugins.wire import UNKNOWN, Secret, to_struct
from tests.support.hcloud_client import HcloudClient, hcloud
from tests.support.hetzner_account import TOKEN, HetznerAccount, account, served

__all__ = ["account", "served"]
from tests.support.plugin_client import refused

SERVER = {"name": "etcd-1", "serverType": "cx23", "image": "debian-12"}
NETWORK = {"ipRange": "10.0.0.0/16"}
RULE = {"direction": "in", "protocol": "tcp", "port": "22", "sourceIps": ["0.0.0.0/0"]}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7vYbrmQ1nq0S9RzJc8mZt1o5yC2oB0sVYkq8nKqQxA a"


@pytest.fixture(scope="module")
def plugin(served: HetznerAccount) -> Iterator[HcloudClient]:
    with hcloud(served) as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "given", "path", "reason"),
    [
        ("Network", {}, "ipRange", "missing"),
        ("Network", {"ipRange": 10}, "ipRange", "must be a string"),
        ("Network", {**NETWORK, "ip_range": "x"}, "ip_range", "no property 'ip_range'"),
        ("Network", {**NETWORK, "labels": {"a": 1}}, "labels.a", "must be a string"),
        ("Network", {**NETWORK, "deleteProtection": True}, "deleteProtection", "does not serve this property"),
        ("Firewall", {"rules": [{"direction": "in"}]}, "rules[0].protocol", "missing"),
        ("Firewall", {"rules": [{**RULE, "ports": "22"}]}, "rules[0].ports", "no property"),
        ("Firewall", {"rules": [RULE], "applyTos": [{"server": 1}]}, "applyTos", "does not serve this property"),
        ("Server", {"image": "debian-12"}, "serverType", "missing"),
        ("Server", {**SERVER, "placementGroupId": 1.5}, "placementGroupId", "whole number"),
        ("Server", {**SERVER, "networks": [{"networkId": 1}]}, "networks[0].networkId", "does not serve"),
        ("Server", {**SERVER, "networks": [{"aliasIps": ["10.0.0.9"]}]}, "networks[0].aliasIps[0]", "does not serve"),
        ("Server", {**SERVER, "publicNets": [{"ipv4": 7}]}, "publicNets[0].ipv4", "does not serve"),
        ("Volume", {"size": 10, "serverId": 1}, "serverId", "does not serve this property"),
        ("VolumeAttachment", {"volumeId": 1}, "serverId", "missing"),
    ],
)
def test_a_wrong_input_is_refused(
    plugin: HcloudClient, kind: str, given: dict[str, Any], path: str, reason: str
) -> None:
    failures = plugin.of(kind).failures(given)
    assert list(failures) == [path]
    assert reason in failures[path]


def test_unknown_inputs_pass_the_check(plugin: HcloudClient) -> None:
    networks = [{"subnetId": UNKNOWN, "ip": "10.0.1.1"}]
    checked = plugin.of("Server").check({**SERVER, "networks": networks, "placementGroupId": UNKNOWN})
    assert checked["networks"] == [{"subnetId": UNKNOWN, "ip": "10.0.1.1", "aliasIps": []}]


def test_defaults_match_the_official_plugin(plugin: HcloudClient) -> None:
    checked = plugin.of("Server").check({**SERVER, "publicNets": [{}]})
    assert checked["publicNets"] == [{"ipv4Enabled": True, "ipv6Enabled": True}]
    assert checked["shutdownBeforeDeletion"] is False


# -- the SDK ----------------------------------------------------------------------------------------------------------


def test_the_stand_in_matches_the_installed_sdk() -> None:
    plugin = make_plugin()
    assert importlib.metadata.version("pulumi_hcloud") == VERSION
    for token, resource in plugin.resources.items():
        kind = getattr(pulumi_hcloud, token.rpartition(":")[2])
        assert kind.pulumi_type == token
        assert resource.fields
        table = resource.about  # type: ignore[attr-defined]
        assert {path.partition(".")[0].partition("[")[0] for path in table} <= set(resource.fields), token
        assert set(resource.computed) <= set(resource.fields), token  # type: ignore[attr-defined]
        assert {*resource.sent} <= set(resource.fields), token  # type: ignore[attr-defined]


def test_a_resource_is_read_from_the_sdks_source() -> None:
    fields = sdk.inputs("pulumi_hcloud", "hcloud:index/server:Server")
    assert fields["serverType"].required
    assert not fields["image"].required
    entry = fields["networks"].item
    assert entry is not None
    assert set(entry.fields or {}) == {"aliasIps", "ip", "macAddress", "networkId", "subnetId"}
    assert "ipv4Address" in sdk.outputs("pulumi_hcloud", "hcloud:index/server:Server")


@pytest.mark.parametrize(
    ("package", "token"), [("pulumi_hcloud", "hcloud:index/serverr:Serverr"), ("pulumi_none", "a:index/b:B")]
)
def test_a_resource_missing_in_the_sdk_is_reported(package: str, token: str) -> None:
    with pytest.raises(LookupError, match=r"has no|not installed"):
        sdk.inputs(package, token)


def test_reading_a_type_of_a_large_sdk_does_not_import_it() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from plugins import sdk; "
        "assert 'imdsSupport' not in sdk.inputs('pulumi_aws', 'aws:ec2/instance:Instance'); print(*sys.modules)"
    )
    lab = Path(sdk.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, lab], capture_output=True, text=True, timeout=60, check=True
    )
    assert "pulumi_aws.ec2" not in done.stdout.split()


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "path", "reason"),
    [
        ({"token": "short"}, "token", "exactly 64 characters"),
        ({"pollInterval": "5"}, "pollInterval", "write 500ms"),
        ({"tokn": TOKEN}, "tokn", "no property"),
    ],
)
def test_a_wrong_setting_is_refused(plugin: HcloudClient, settings: dict[str, Any], path: str, reason: str) -> None:
    failures = plugin.settings(**settings)[1]
    assert list(failures) == [path]
    assert reason in failures[path]


def test_the_token_becomes_a_secret(plugin: HcloudClient) -> None:
    settings, _ = plugin.settings(token=TOKEN, endpoint="http://a/v1")
    assert settings == {"token": Secret(TOKEN), "endpoint": "http://a/v1"}


def test_another_endpoint_changes_the_provider_and_replaces_nothing(plugin: HcloudClient) -> None:
    old = {"endpoint": "http://a/v1", "token": Secret(TOKEN)}
    for new, changed in ((old, []), ({**old, "endpoint": "http://b/v1"}, ["endpoint"])):
        answer = plugin.stub.DiffConfig(provider_pb2.DiffRequest(olds=to_struct(old), news=to_struct(new)), timeout=60)
        assert (list(answer.diffs), list(answer.replaces)) == (changed, [])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"token": TOKEN}, "must only be used with emulated clouds"),
        ({"token": TOKEN, "endpoint": "https://api.hetzner.cloud/v1"}, "must only be used with emulated clouds"),
        ({"token": TOKEN, "endpoint": "127.0.0.1:80"}, "is not an address such as"),
        ({"endpoint": "http://127.0.0.1:1/v1"}, "there is no API token"),
    ],
)
def test_unusable_settings_are_refused(
    plugin: HcloudClient, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], reason: str
) -> None:
    monkeypatch.delenv("HCLOUD_TOKEN", raising=False)
    monkeypatch.delenv("HCLOUD_ENDPOINT", raising=False)
    with pytest.raises(grpc.RpcError) as error:
        plugin.configure(**settings)
    assert reason in refused(error)


def test_settings_may_come_from_the_environment(account: HetznerAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", TOKEN)
    monkeypatch.setenv("HCLOUD_ENDPOINT", account.endpoint)
    with hcloud(account) as client:
        client.configure(pollInterval="1ms")
        assert client.of("Network").create({**NETWORK, "name": "environ"})[0]


# -- the API's refusals -----------------------------------------------------------------------------------------------


def test_a_wrong_token_is_reported(account: HetznerAccount) -> None:
    with hcloud(account) as client:
        client.configure(endpoint=account.endpoint, token="x" * 64)
        with pytest.raises(grpc.RpcError) as error:
            client.of("SshKey").create({"name": "mine", "publicKey": KEY})
        assert refused(error) == "unable to authenticate (unauthorized; POST ssh_keys)"


def test_a_silent_api_is_reported(account: HetznerAccount) -> None:
    with hcloud(account) as client:
        client.configure(endpoint="http://127.0.0.1:1/v1", token=TOKEN)
        with pytest.raises(grpc.RpcError) as error:
            client.of("SshKey").create({"name": "mine", "publicKey": KEY})
        assert refused(error).startswith("POST http://127.0.0.1:1/v1/ssh_keys: ")


@pytest.mark.parametrize("code", ["conflict", "locked", "rate_limit_exceeded"])
def test_temporary_refusals_are_retried(plugin: HcloudClient, account: HetznerAccount, code: str) -> None:
    account.refuse("POST placement_groups", code)
    assert plugin.of("PlacementGroup").create({"name": code, "type": "spread"})[0]


def test_a_name_in_use_is_reported_immediately(plugin: HcloudClient) -> None:
    plugin.of("SshKey").create({"publicKey": KEY, "name": "mine"})
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("SshKey").create({"publicKey": KEY, "name": "mine"})
    assert refused(error) == "SSH key name is already used (uniqueness_error; POST ssh_keys)"


def test_an_unserved_resource_is_reported(plugin: HcloudClient) -> None:
    with pytest.raises(grpc.RpcError) as error:
        plugin.of("LoadBalancer").check({})
    assert "LoadBalancer is not served by this stand-in for the plugin hcloud" in refused(error)
