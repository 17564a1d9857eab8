"""The aws stand-in: which inputs and settings it accepts, and how each change is applied."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from lab.plugins.aws import VERSION, make_plugin
from lab.plugins.wire import UNKNOWN, Change, Secret
from tests.support.aws_client import AwsClient, aws
from tests.support.plugin_client import refused, running

VPC, SUBNET = "ec2/vpc:Vpc", "ec2/subnet:Subnet"
GROUP, INSTANCE = "ec2/securityGroup:SecurityGroup", "ec2/instance:Instance"
RULE, CARD = "vpc/securityGroupIngressRule:SecurityGroupIngressRule", "ec2/networkInterface:NetworkInterface"
VOLUME, ATTACHMENT = "ebs/volume:Volume", "ec2/volumeAttachment:VolumeAttachment"
NOWHERE = "http://127.0.0.1:1"
UPDATED, REPLACED = Change.UPDATE, Change.UPDATE_REPLACE
MACHINE = {
    "ami": "ami-1",
    "instanceType": "t3.micro",
    "primaryNetworkInterface": {"networkInterfaceId": "eni-1"},
    "userData": "#cloud-config\n",
    "userDataReplaceOnChange": True,
    "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
    "rootBlockDevice": {"volumeSize": 16, "volumeType": "gp3", "encrypted": True},
    "tags": {"Name": "one"},
}


@pytest.fixture(scope="module")
def plugin() -> Iterator[AwsClient]:
    with aws(NOWHERE) as client:
        yield client


def test_the_stand_in_has_the_installed_sdks_version() -> None:
    assert importlib.metadata.version("pulumi-aws") == VERSION


def test_every_property_in_a_table_exists_in_the_sdk() -> None:
    for token, resource in make_plugin().resources.items():
        named = {name.partition(".")[0] for name in {*resource.about, *resource.sent, *resource.served}}  # type: ignore[attr-defined]
        assert named <= set(resource.fields), token
        assert set(resource.computed) <= set(resource.outputs), token  # type: ignore[attr-defined]
        assert set(resource.where) <= set(resource.outputs), token  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "given", "path", "reason"),
    [
        (VPC, {}, "cidrBlock", "missing"),
        (VPC, {"cidrBlock": 10}, "cidrBlock", "must be a string"),
        (VPC, {"cidr_block": "10.0.0.0/16", "cidrBlock": "10.0.0.0/16"}, "cidr_block", "no property"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a": 1}}, "tags.a", "must be a string"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "ipv6IpamPoolId": "x"}, "ipv6IpamPoolId", "does not serve this property"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "region": "us-east-1"}, "region", "only the provider's region"),
        (SUBNET, {"vpcId": "vpc-1"}, "cidrBlock", "missing"),
        (RULE, {"securityGroupId": "sg-1"}, "ipProtocol", "missing"),
        (RULE, {"securityGroupId": "sg-1", "ipProtocol": "tcp", "fromPort": "22"}, "fromPort", "must be an integer"),
        (CARD, {"subnetId": "subnet-1", "privateIps": "10.0.0.1"}, "privateIps", "must be a list"),
        (INSTANCE, {**MACHINE, "hibernation": True}, "hibernation", "does not serve this property"),
        (INSTANCE, {**MACHINE, "metadataOptions": {"tokens": "x"}}, "metadataOptions.tokens", "no property"),
        (VOLUME, {"size": 10}, "availabilityZone", "missing"),
        (ATTACHMENT, {"deviceName": "/dev/sdf", "volumeId": "vol-1"}, "instanceId", "missing"),
    ],
)
def test_a_wrong_input_is_refused(plugin: AwsClient, kind: str, given: dict[str, Any], path: str, reason: str) -> None:
    found = plugin.of(kind).failures(given)
    assert reason in found.get(path, ""), found


def test_defaults_match_the_official_plugin(plugin: AwsClient) -> None:
    vpc = plugin.check({"cidrBlock": "10.0.0.0/16"})
    assert vpc["enableDnsSupport"] is True
    group = plugin.of(GROUP).check({"vpcId": "vpc-1"})
    assert group["description"] == "Managed by Pulumi"
    assert group["name"].startswith("thing-")
    assert plugin.of(GROUP).check({"vpcId": "vpc-1"}, group)["name"] == group["name"]


@pytest.mark.parametrize(
    ("kind", "old", "changed", "changes"),
    [
        (VPC, {"cidrBlock": "10.0.0.0/16"}, {"cidrBlock": "10.1.0.0/16"}, {"cidrBlock": REPLACED}),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a": "b"}}, {"tags": {"a": ""}}, {"tags.a": UPDATED}),
        (CARD, {"subnetId": "s", "securityGroups": ["sg-1", "sg-2"]}, {"securityGroups": ["sg-2", "sg-1"]}, {}),
        (INSTANCE, MACHINE, {"ami": "ami-2"}, {"ami": REPLACED}),
        (INSTANCE, MACHINE, {"instanceType": "t3.small"}, {"instanceType": UPDATED}),
        (INSTANCE, MACHINE, {"userData": "#other\n"}, {"userData": REPLACED}),
        (INSTANCE, {**MACHINE, "userDataReplaceOnChange": False}, {"userData": "#other\n"}, {"userData": UPDATED}),
        (
            INSTANCE,
            MACHINE,
            {"rootBlockDevice": {"volumeSize": 20, "volumeType": "gp3", "encrypted": False}},
            {"rootBlockDevice.volumeSize": UPDATED, "rootBlockDevice.encrypted": REPLACED},
        ),
        (
            VOLUME,
            {"availabilityZone": "eu-central-1a", "size": 10, "iops": 4000},
            {"availabilityZone": "eu-central-1b", "size": 20, "iops": None},
            {"availabilityZone": REPLACED, "size": UPDATED},
        ),
    ],
)
def test_changes_update_or_replace_like_the_official_plugin(
    plugin: AwsClient, kind: str, old: dict[str, Any], changed: dict[str, Any], changes: dict[str, Change]
) -> None:
    new = {name: value for name, value in {**old, **changed}.items() if value is not None}
    assert plugin.of(kind).diff({**old, "id": "x"}, old, new) == changes


def test_a_preview_sends_no_requests(plugin: AwsClient) -> None:
    _, state = plugin.of(INSTANCE).create({**MACHINE, "userData": Secret("x")}, preview=True)
    assert (state["id"], state["privateIp"], state["userData"]) == (UNKNOWN, UNKNOWN, Secret("x"))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"region": "eu-central-1", "profile": "mine"}, "aws:profile: this stand-in does not serve it"),
        ({"region": "eu-central-1", "defaultTags": {"tags": {"a": "b"}}}, "aws:defaultTags: this stand-in does not"),
        ({"endpoints": [{"ec2": NOWHERE}]}, "missing region"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with running(make_plugin(), VPC, AwsClient) as plugin, pytest.raises(grpc.RpcError) as error:
        plugin.configure(**settings)
    assert text in refused(error)


def test_settings_are_decoded_from_json_and_unknown_ones_refused() -> None:
    with running(make_plugin(), VPC, AwsClient) as plugin:
        good = {"skipCredentialsValidation": "true", "endpoints": '[{"ec2": "http://127.0.0.1:1"}]', "maxRetries": "3"}
        assert plugin.settings(region="eu-central-1", **good)[1] == {}
        assert "no property" in plugin.settings(regoin="eu-central-1")[1]["regoin"]
        assert "must be a boolean" in plugin.settings(skipRegionValidation="maybe")[1]["skipRegionValidation"]


@pytest.mark.parametrize("endpoint", ["", "https://ec2.eu-central-1.amazonaws.com"])
def test_the_stand_in_never_uses_the_real_aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with aws(endpoint) as plugin, pytest.raises(grpc.RpcError) as error:
        plugin.create({"cidrBlock": "10.0.0.0/16"})
    assert "must only be used with emulated clouds" in refused(error)
