"""Policies `imdsv2-only` and `public-servers-behind-firewall`."""

from typing import Any

import pytest

from tests.support.policies import UNKNOWN, Pack

INSTANCE, SERVER = "aws:ec2/instance:Instance", "hcloud:index/server:Server"


def instance(options: Any) -> dict[str, Any]:
    return {"rootBlockDevice": {"encrypted": True}, "metadataOptions": options}


@pytest.mark.parametrize(
    "options",
    [
        {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
            "instanceMetadataTags": UNKNOWN,
        },
        {"httpEndpoint": "disabled"},
    ],
)
def test_an_instance_with_imdsv2_or_without_the_service_passes(options: dict[str, Any]) -> None:
    assert Pack().said(INSTANCE, instance(options)) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (None, ["IMDSv1 is allowed", "is not set"]),
        ({"httpTokens": "optional", "httpPutResponseHopLimit": 1}, ["IMDSv1 is allowed"]),
        ({"httpTokens": "required"}, ["`httpPutResponseHopLimit` is not set"]),
        (
            {"httpTokens": "required", "httpPutResponseHopLimit": 2},
            ["is 2, so containers may reach the service. Set it to 1"],
        ),
        ({"httpTokens": UNKNOWN, "httpPutResponseHopLimit": 2}, ["is 2", ".metadataOptions.httpTokens can't be known"]),
        ({"httpEndpoint": UNKNOWN, "httpTokens": "optional"}, [".metadataOptions.httpEndpoint can't be known"]),
        (UNKNOWN, [".metadataOptions can't be known"]),
    ],
)
def test_an_instance_that_is_not_known_to_require_imdsv2_is_reported(options: Any, said: list[str]) -> None:
    found = Pack().said(INSTANCE, instance(options))
    assert len(found) == len(said)
    for text, part in zip(found, said, strict=True):
        assert text.removeprefix("?").startswith("imdsv2-only: ")
        assert text.startswith("?") == ("can't be known" in part)
        assert part in text


def test_the_hop_limit_is_configured() -> None:
    options = {"httpTokens": "required", "httpPutResponseHopLimit": 2}
    assert Pack({"imdsv2-only": {"hops": 2}}).said(INSTANCE, instance(options)) == []


PRIVATE = {"ipv4Enabled": False, "ipv6Enabled": False}


@pytest.mark.parametrize(
    "inputs",
    [
        {"firewallIds": [42]},
        {"firewallIds": [UNKNOWN], "publicNets": [{"ipv4Enabled": True, "ipv6Enabled": False}]},
        {"publicNets": [PRIVATE]},
        {"publicNets": [PRIVATE], "firewallIds": UNKNOWN},
    ],
)
def test_a_server_with_a_firewall_or_without_a_public_address_passes(inputs: dict[str, Any]) -> None:
    assert Pack().said(SERVER, inputs, component="HetznerMachines") == []


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "The server it has a public address and no firewall"),
        ({"publicNets": [{"ipv4Enabled": False}]}, "no firewall"),
        ({"publicNets": [{**PRIVATE, "ipv6Enabled": True}], "firewallIds": []}, "no firewall"),
        ({"firewallIds": UNKNOWN}, "? .firewallIds can't be known"),
        ({"publicNets": UNKNOWN}, "? .publicNets can't be known"),
        ({"publicNets": [{**PRIVATE, "ipv4Enabled": UNKNOWN}]}, "? .publicNets.0.ipv4Enabled can't be known"),
    ],
)
def test_a_public_server_that_is_not_known_to_have_a_firewall_is_reported(inputs: dict[str, Any], said: str) -> None:
    (found,) = Pack().said(SERVER, inputs, component="HetznerMachines")
    assert found.removeprefix("?").startswith("public-servers-behind-firewall: ")
    assert found.startswith("?") == said.startswith("?")
    assert said.removeprefix("? ") in found
