"""Policies `volumes-encrypted` and `data-protected`."""

from typing import Any

import pytest

from tests.support.policies import UNKNOWN, Pack

VOLUME, HETZNER_VOLUME = "aws:ebs/volume:Volume", "hcloud:index/volume:Volume"
INSTANCE, BUCKET = "aws:ec2/instance:Instance", "aws:s3/bucket:Bucket"
SAFE = {"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1}}


def instance(root: Any, *others: Any) -> dict[str, Any]:
    return {**SAFE, "rootBlockDevice": root, "ebsBlockDevices": list(others)}


@pytest.mark.parametrize(
    ("type_", "inputs"),
    [
        (VOLUME, {"encrypted": True}),
        (INSTANCE, instance({"encrypted": True})),
        (INSTANCE, instance({"encrypted": True}, {"encrypted": True, "deviceName": UNKNOWN})),
    ],
)
def test_encrypted_volumes_pass(type_: str, inputs: dict[str, Any]) -> None:
    assert Pack().said(type_, inputs, protect=True) == []


@pytest.mark.parametrize(
    ("type_", "inputs", "said"),
    [
        (VOLUME, {"encrypted": False}, ["The volume it is not encrypted. Set `encrypted` to true."]),
        (VOLUME, {}, ["The volume it is not encrypted"]),
        (INSTANCE, SAFE, ["The root volume of it (`rootBlockDevice`) is not encrypted"]),
        (INSTANCE, instance({"volumeSize": 16}), ["The root volume of it"]),
        (INSTANCE, instance({"encrypted": True}, {"encrypted": False}), ["A volume of it (`ebsBlockDevices`)"]),
        (INSTANCE, instance({"encrypted": UNKNOWN}, {}), ["A volume of it", ".rootBlockDevice.encrypted can't be"]),
        (VOLUME, {"encrypted": UNKNOWN}, [".encrypted can't be known during preview"]),
        (INSTANCE, {**SAFE, "rootBlockDevice": UNKNOWN}, [".rootBlockDevice can't be known"]),
    ],
)
def test_a_volume_that_is_not_known_to_be_encrypted_is_reported(
    type_: str, inputs: dict[str, Any], said: list[str]
) -> None:
    found = Pack().said(type_, inputs, protect=True)
    assert len(found) == len(said)
    for text, part in zip(found, said, strict=True):
        assert text.removeprefix("?").startswith("volumes-encrypted: ")
        assert text.startswith("?") == ("known" in part or "can't" in part)
        assert part in text


@pytest.mark.parametrize(
    ("type_", "inputs"),
    [(VOLUME, {"encrypted": True}), (HETZNER_VOLUME, {}), (HETZNER_VOLUME, {"deleteProtection": UNKNOWN})],
)
def test_a_protected_volume_passes(type_: str, inputs: dict[str, Any]) -> None:
    assert Pack().said(type_, inputs, protect=True) == []


def test_a_volume_with_hetzners_protection_passes() -> None:
    assert Pack().said(HETZNER_VOLUME, {"deleteProtection": True}) == []
    assert Pack().said(HETZNER_VOLUME, {"deleteProtection": UNKNOWN}) == [
        "?data-protected: can't run policy 'data-protected' during preview: string value at .deleteProtection can't be "
        "known during preview"
    ]


@pytest.mark.parametrize(
    ("type_", "inputs", "kind"),
    [(VOLUME, {"encrypted": True}, "volume"), (HETZNER_VOLUME, {}, "volume"), (BUCKET, {}, "bucket")],
)
def test_data_that_pulumi_may_delete_are_refused(type_: str, inputs: dict[str, Any], kind: str) -> None:
    (found,) = Pack().said(type_, inputs, component="AwsBackupBucket" if kind == "bucket" else "AwsMachines")
    assert f"data-protected: Pulumi may delete the {kind} it with all its data. Set `protect` of" in found
    assert ("delete_protection" in found) == (type_ == HETZNER_VOLUME)


def test_what_no_component_created_is_checked_only_if_configured() -> None:
    assert Pack().said(VOLUME, {}, component=None) == []
    assert Pack().said(BUCKET, {}, component=None) == []
    everything = Pack({name: {"scope": "all"} for name in ("volumes-encrypted", "data-protected")})
    assert [text.partition(":")[0] for text in everything.said(VOLUME, {}, component=None)] == [
        "volumes-encrypted",
        "data-protected",
    ]
    assert everything.said(BUCKET, {}, component=None) == [], "it has no snapshots of etcd"
