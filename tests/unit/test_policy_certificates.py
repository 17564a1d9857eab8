"""Policy `certificate-lifetimes`."""

from typing import Any

import pytest

from tests.support.policies import UNKNOWN, Pack

SIGNED, SELF_SIGNED = "tls:index/locallySignedCert:LocallySignedCert", "tls:index/selfSignedCert:SelfSignedCert"


def leaf(hours: Any = 8760, early: Any = 720) -> dict[str, Any]:
    return {"validityPeriodHours": hours, "earlyRenewalHours": early, "caPrivateKeyPem": UNKNOWN}


def ca(hours: Any = 87600) -> dict[str, Any]:
    return {"validityPeriodHours": hours, "isCaCertificate": True}


def said(type_: str, inputs: dict[str, Any], **config: int) -> list[str]:
    return Pack({"certificate-lifetimes": config} if config else None).said(type_, inputs, component="EtcdPki")


@pytest.mark.parametrize(
    ("type_", "inputs"),
    [(SIGNED, leaf()), (SIGNED, leaf(9528, 336)), (SELF_SIGNED, ca()), (SELF_SIGNED, leaf()), (SIGNED, ca())],
)
def test_the_lifetimes_of_the_components_pass(type_: str, inputs: dict[str, Any]) -> None:
    assert said(type_, inputs) == []


@pytest.mark.parametrize(
    ("type_", "inputs", "parts"),
    [
        (SIGNED, leaf(26280), ["it (leaf) is valid for 26280 hours (1095 days), but the policy allows 9528"]),
        (SIGNED, leaf(early=24), ["renewed only in its last 24 hours, but the policy requires 336 (`renewalHours`)"]),
        (SIGNED, {"validityPeriodHours": 8760}, ["renewed only in its last 0 hours"]),
        (SELF_SIGNED, ca(175200), ["it (CA) is valid for 175200 hours (7300 days), but the policy allows 87672"]),
        (SELF_SIGNED, leaf(87600), ["it (leaf) is valid for 87600 hours"]),
        (SIGNED, leaf(UNKNOWN, 24), ["its last 24 hours", "? .validityPeriodHours can't be known"]),
        (SIGNED, leaf(26280, UNKNOWN), ["26280 hours", "? .earlyRenewalHours can't be known"]),
        (SELF_SIGNED, {**ca(), "isCaCertificate": UNKNOWN}, ["? .isCaCertificate can't be known"]),
    ],
)
def test_a_certificate_that_is_not_known_to_end_in_time_is_reported(
    type_: str, inputs: dict[str, Any], parts: list[str]
) -> None:
    found = said(type_, inputs)
    assert len(found) == len(parts)
    for text, part in zip(found, parts, strict=True):
        assert text.removeprefix("?").startswith("certificate-lifetimes: ")
        assert text.startswith("?") == part.startswith("?")
        assert part.removeprefix("? ") in text


def test_the_lifetimes_are_configured() -> None:
    assert said(SIGNED, leaf(26280, 24), leafHours=26280, renewalHours=24) == []
    assert said(SELF_SIGNED, ca(43800), caHours=43800) == []
    (found,) = said(SELF_SIGNED, ca(87600), caHours=43800)
    assert "but the policy allows 43800 (`caHours`). Set `ca_validity_hours` of the component" in found


def test_other_certificates_of_the_program_are_left_alone() -> None:
    assert Pack().said(SIGNED, leaf(87600), component=None) == []
