"""The `tls` stand-in: keys, requests and certificates, checked with `openssl` and `cryptography`."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab.plugins.tls import plugin
from lab.plugins.wire import UNKNOWN, Change, Secret
from tests.support.plugin_client import PluginClient, refused, running

KEY, REQUEST = "tls:index/privateKey:PrivateKey", "tls:index/certRequest:CertRequest"
SELF, LOCAL = "tls:index/selfSignedCert:SelfSignedCert", "tls:index/locallySignedCert:LocallySignedCert"
# The components' inputs.
KEY_INPUTS = {"algorithm": "ECDSA", "ecdsaCurve": "P256"}
CA = {
    "allowedUses": ["digital_signature", "key_encipherment", "cert_signing"],
    "validityPeriodHours": 87600,
    "isCaCertificate": True,
    "setSubjectKeyId": True,
    "subject": {"commonName": "etcd-ca"},
}
LEAF = {
    "allowedUses": ["digital_signature", "key_encipherment", "server_auth", "client_auth"],
    "validityPeriodHours": 48,
    "earlyRenewalHours": 24,
}


@pytest.fixture(scope="module")
def tls() -> Iterator[PluginClient]:
    with running(plugin, KEY, PluginClient) as client:
        yield client


@pytest.fixture(scope="module")
def ca(tls: PluginClient) -> dict[str, Any]:
    return tls.of(SELF).create({**CA, "privateKeyPem": new_key(tls)["privateKeyPem"]})[1]


@pytest.fixture(scope="module")
def leaf_inputs(tls: PluginClient, ca: dict[str, Any]) -> dict[str, Any]:
    names = {"dnsNames": ["etcd-1", "localhost"], "ipAddresses": ["10.0.0.1", "::1"]}
    given = {"privateKeyPem": new_key(tls)["privateKeyPem"], "subject": {"commonName": "etcd-1"}, **names}
    request = tls.of(REQUEST).create(given)[1]["certRequestPem"]
    return {"certRequestPem": request, "caCertPem": ca["certPem"], "caPrivateKeyPem": ca["privateKeyPem"], **LEAF}


@pytest.fixture(scope="module")
def leaf(tls: PluginClient, leaf_inputs: dict[str, Any]) -> dict[str, Any]:
    return tls.of(LOCAL).create(leaf_inputs)[1]


def new_key(tls: PluginClient) -> dict[str, Any]:
    return tls.create(KEY_INPUTS)[1]


def parsed(state: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(state["certPem"].encode())


def extension(certificate: x509.Certificate, kind: Any) -> Any:
    return certificate.extensions.get_extension_for_class(kind)


def uses_of(certificate: x509.Certificate) -> set[str]:
    usage = extension(certificate, x509.KeyUsage)
    assert usage.critical
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return {name for name in (*names, "key_cert_sign", "crl_sign") if getattr(usage.value, name)}


# -- private keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "header", "ssh"),
    [(KEY_INPUTS, "EC PRIVATE KEY", "ecdsa-sha2-nistp256"), ({"algorithm": "ED25519"}, "PRIVATE KEY", "ssh-ed25519")],
)
def test_a_private_key_is_secret_and_equal_in_every_format(
    tls: PluginClient, inputs: dict[str, Any], header: str, ssh: str
) -> None:
    identity, state = tls.create(inputs)
    secret = {name for name, value in state.items() if isinstance(value, Secret)}
    assert secret == {"privateKeyPem", "privateKeyOpenssh"}
    assert state["privateKeyPem"].value.startswith(f"-----BEGIN {header}-----\n")
    assert state["publicKeyOpenssh"].startswith(ssh + " ")
    assert state["publicKeyOpenssh"].endswith("\n")
    pem = serialization.load_pem_private_key(state["privateKeyPem"].value.encode(), None).public_key()
    openssh = serialization.load_ssh_private_key(state["privateKeyOpenssh"].value.encode(), None).public_key()
    assert pem == openssh == serialization.load_ssh_public_key(state["publicKeyOpenssh"].encode())
    der = pem.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert identity == state["id"] == hashlib.sha1(der.strip(b" \t\n\v\f\r"), usedforsecurity=False).hexdigest()


def test_a_preview_creates_no_key(tls: PluginClient) -> None:
    identity, state = tls.create(KEY_INPUTS, preview=True)
    assert (identity, state["privateKeyPem"], state["publicKeyOpenssh"]) == ("", Secret(UNKNOWN), UNKNOWN)


# -- certificates ---------------------------------------------------------------------------------------------------


def test_a_ca_signs_itself(ca: dict[str, Any]) -> None:
    certificate = parsed(ca)
    assert ca["id"] == str(certificate.serial_number)
    assert certificate.subject.rfc4514_string() == "CN=etcd-ca"
    certificate.verify_directly_issued_by(certificate)
    constraints = extension(certificate, x509.BasicConstraints)
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(True, None))
    assert uses_of(certificate) == {"digital_signature", "key_encipherment", "key_cert_sign"}
    key_id = extension(certificate, x509.SubjectKeyIdentifier).value
    assert key_id == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())


def test_openssl_verifies_a_leaf_certificate(ca: dict[str, Any], leaf: dict[str, Any], tmp_path: Path) -> None:
    certificate, authority = parsed(leaf), parsed(ca)
    certificate.verify_directly_issued_by(authority)
    ca_id = extension(authority, x509.SubjectKeyIdentifier).value.digest
    assert extension(certificate, x509.AuthorityKeyIdentifier).value.key_identifier == ca_id
    assert extension(certificate, x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    assert uses_of(certificate) == {"digital_signature", "key_encipherment"}
    extended = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert list(extension(certificate, x509.ExtendedKeyUsage).value) == extended
    names = extension(certificate, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["etcd-1", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "::1"]
    (tmp_path / "ca.pem").write_text(ca["certPem"])
    for purpose in ("sslserver", "sslclient"):
        command = ["openssl", "verify", "-purpose", purpose, "-CAfile", str(tmp_path / "ca.pem")]
        subprocess.run(command, input=leaf["certPem"], text=True, timeout=30, check=True)
    assert isinstance(leaf["caPrivateKeyPem"], Secret)


def test_a_certificate_has_its_validity_and_a_unique_serial(ca: dict[str, Any], leaf: dict[str, Any]) -> None:
    certificate, now = parsed(leaf), datetime.now(timezone.utc)
    assert 64 < (certificate.serial_number | parsed(ca).serial_number).bit_length() <= 128
    assert leaf["id"] == str(certificate.serial_number) != ca["id"]
    assert now - timedelta(minutes=10) < certificate.not_valid_before_utc <= now
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(hours=48)
    times = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
    assert times.fullmatch(leaf["validityStartTime"])
    assert times.fullmatch(leaf["validityEndTime"])


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())])
def test_a_users_own_ca_can_have_any_key(tls: PluginClient, leaf_inputs: dict[str, Any], key: Any) -> None:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = key.private_bytes(*form).decode()
    own = tls.of(SELF).create({**CA, "privateKeyPem": pem})[1]
    given = {**leaf_inputs, "caCertPem": own["certPem"], "caPrivateKeyPem": pem}
    parsed(tls.of(LOCAL).create(given)[1]).verify_directly_issued_by(parsed(own))


@pytest.mark.parametrize("name", ["certRequestPem", "caCertPem", "caPrivateKeyPem"])
def test_invalid_pem_is_refused_without_showing_it(tls: PluginClient, leaf_inputs: dict[str, Any], name: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        tls.of(LOCAL).create({**leaf_inputs, name: "hunter2"})
    assert re.fullmatch("Failed to parse (certificate request|CA certificate|CA private key) PEM", refused(error))


def test_a_key_must_belong_to_the_ca(tls: PluginClient, leaf_inputs: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError) as error:
        tls.of(LOCAL).create({**leaf_inputs, "caPrivateKeyPem": new_key(tls)["privateKeyPem"]})
    assert "provided PrivateKey doesn't match parent's PublicKey" in refused(error)


# -- what is refused, what replaces ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "given", "path", "reason"),
    [
        (KEY, {}, "algorithm", "missing"),
        (KEY, {"algorithm": "RSA"}, "algorithm", "must be one of ECDSA, ED25519"),
        (KEY, {"algorithm": "ECDSA"}, "ecdsaCurve", "must be one of P256, and 'P224'"),
        (REQUEST, {"subject": CA["subject"], "privateKeyPemWo": "k"}, "privateKeyPemWo", "no property"),
        (REQUEST, {"subject": {"commonName": "a"}, "ipAddresses": ["10.0.0.300"]}, "ipAddresses[0]", "Invalid IP"),
        (REQUEST, {"subject": {"commonName": "a", "country": "DE"}}, "subject.country", "no property"),
        (SELF, {**CA, "validityPeriodHours": -1}, "validityPeriodHours", "at least 0"),
        (SELF, {**CA, "allowedUses": ["any_extended"]}, "allowedUses[0]", "must be one of cert_signing"),
    ],
)
def test_a_wrong_or_unserved_input_is_refused_with_a_remedy(
    tls: PluginClient, token: str, given: dict[str, Any], path: str, reason: str
) -> None:
    failures = tls.of(token).failures(given if token == KEY else {"privateKeyPem": "k", **given})
    assert list(failures) == [path]
    assert reason in failures[path]
    assert "install the official plugin" in failures[path]


def test_unknown_inputs_pass_check_and_preview(tls: PluginClient, leaf_inputs: dict[str, Any]) -> None:
    unknown = {"certRequestPem": UNKNOWN, "caCertPem": UNKNOWN, "caPrivateKeyPem": Secret(UNKNOWN)}
    _, state = tls.of(LOCAL).create({**leaf_inputs, **unknown}, preview=True)
    assert (state["certPem"], state["readyForRenewal"]) == (UNKNOWN, False)


@pytest.mark.parametrize(
    ("token", "old", "new"),
    [
        (KEY, KEY_INPUTS, {"algorithm": "ED25519"}),
        (REQUEST, {"privateKeyPem": "k", "subject": {"commonName": "a"}}, {"privateKeyPem": "l", "dnsNames": ["a"]}),
        (REQUEST, {"privateKeyPem": "k", "subject": {"commonName": "a"}}, {"subject": {"commonName": "b"}}),
        (SELF, {"privateKeyPem": "k", **CA}, {"validityPeriodHours": 1, "allowedUses": ["cert_signing"]}),
        (LOCAL, {"certRequestPem": "r", "caCertPem": "c", "caPrivateKeyPem": "k", **LEAF}, {"caCertPem": "d"}),
        (LOCAL, {"certRequestPem": "r", "caCertPem": "c", "caPrivateKeyPem": "k", **LEAF}, {"certRequestPem": "s"}),
    ],
)
def test_every_change_replaces(tls: PluginClient, token: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    changes = tls.of(token).diff({}, old, {**old, **new})
    assert {path.partition(".")[0].partition("[")[0] for path in changes} == set(new)
    assert all(kind & 1 for kind in changes.values())


def test_explicit_defaults_and_secret_marks_replace_nothing(tls: PluginClient) -> None:
    old = {"privateKeyPem": "k", **CA}
    new = {**old, "earlyRenewalHours": 0, "subject": Secret(CA["subject"])}
    assert tls.of(SELF).diff({"readyForRenewal": False}, old, new) == {}


# -- renewal --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("early", "due"), [(47, False), (48, True)])
def test_a_certificate_in_its_renewal_window_is_replaced(
    tls: PluginClient, leaf_inputs: dict[str, Any], early: int, due: bool
) -> None:
    inputs = {**leaf_inputs, "earlyRenewalHours": early}
    state = tls.of(LOCAL).create(inputs)[1]
    assert state["readyForRenewal"] is due
    changes = tls.of(LOCAL).diff(state, inputs, inputs)
    assert changes == ({"readyForRenewal": Change.UPDATE_REPLACE} if due else {})


def test_the_clock_decides_about_a_renewal_not_the_state(
    tls: PluginClient, leaf: dict[str, Any], leaf_inputs: dict[str, Any]
) -> None:
    now = datetime.now(timezone.utc)
    for end, due in ((now + timedelta(hours=23), True), (now + timedelta(hours=25), False), (now, True)):
        for text in (end.isoformat(), end.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")):
            aged = {**leaf, "validityEndTime": text}
            assert ("readyForRenewal" in tls.of(LOCAL).diff(aged, leaf_inputs, leaf_inputs)) is due
            assert tls.of(LOCAL).read("x", aged, leaf_inputs)[1]["readyForRenewal"] is due


def test_a_new_renewal_window_is_an_update_unless_due(
    tls: PluginClient, leaf: dict[str, Any], leaf_inputs: dict[str, Any]
) -> None:
    client, new = tls.of(LOCAL), {**leaf_inputs, "earlyRenewalHours": 47}
    assert client.diff(leaf, leaf_inputs, new) == {"earlyRenewalHours": Change.UPDATE}
    for preview in (True, False):
        assert client.update(leaf, new, preview=preview) == {**leaf, "earlyRenewalHours": 47}
    changes = client.diff(leaf, leaf_inputs, {**leaf_inputs, "earlyRenewalHours": 48})
    assert changes["readyForRenewal"] == Change.UPDATE_REPLACE


def test_a_certificate_from_the_future_is_kept_until_its_lifetime_changes(
    tls: PluginClient, leaf: dict[str, Any], leaf_inputs: dict[str, Any]
) -> None:
    """A wrong clock issued it. etcd-node does not write it, and names this edit."""
    now = datetime.now(timezone.utc)
    begin, end = (now + timedelta(days=days) for days in (365, 730))
    early = {**leaf, "validityStartTime": begin.isoformat(), "validityEndTime": end.isoformat()}
    assert tls.of(LOCAL).diff(early, leaf_inputs, leaf_inputs) == {}
    another = {**leaf_inputs, "validityPeriodHours": leaf_inputs["validityPeriodHours"] + 1}
    assert tls.of(LOCAL).diff(early, leaf_inputs, another) == {"validityPeriodHours": Change.UPDATE_REPLACE}
