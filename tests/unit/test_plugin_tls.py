"""The stand-in for the plugin `tls`: keys, requests and certificates, looked at with `openssl` and `cryptography`."""

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
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.plugins.tls import USES, plugin
from lab.plugins.wire import UNKNOWN, Change, Secret
from tests.support.plugin_client import PluginClient, refused, running

KEY, REQUEST = "tls:index/privateKey:PrivateKey", "tls:index/certRequest:CertRequest"
SELF, LOCAL = "tls:index/selfSignedCert:SelfSignedCert", "tls:index/locallySignedCert:LocallySignedCert"
CA = {
    "allowedUses": ["cert_signing", "crl_signing", "digital_signature"],
    "validityPeriodHours": 87600,
    "isCaCertificate": True,
    "subject": {"commonName": "etcd-ca"},
}


@pytest.fixture(scope="module")
def tls() -> Iterator[PluginClient]:
    with running(plugin, KEY) as client:
        yield client


def new_key(tls: PluginClient, **more: Any) -> dict[str, Any]:
    return tls.create({"algorithm": "ECDSA", "ecdsaCurve": "P256", **more})[1]


def new_ca(tls: PluginClient, **more: Any) -> dict[str, Any]:
    return tls.of(SELF).create({**CA, "privateKeyPem": new_key(tls)["privateKeyPem"], **more})[1]


def new_request(tls: PluginClient, **more: Any) -> str:
    given = {"privateKeyPem": new_key(tls)["privateKeyPem"], **more}
    return str(tls.of(REQUEST).create(given)[1]["certRequestPem"])


def leaf_inputs(ca: dict[str, Any], request: str, **more: Any) -> dict[str, Any]:
    return {
        "certRequestPem": request,
        "caCertPem": ca["certPem"],
        "caPrivateKeyPem": ca["privateKeyPem"],
        "allowedUses": ["digital_signature", "server_auth", "client_auth"],
        "validityPeriodHours": 8760,
        **more,
    }


def parsed(state: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(state["certPem"].encode())


def extension(certificate: x509.Certificate, kind: Any) -> Any:
    return certificate.extensions.get_extension_for_class(kind)


def openssl(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(["openssl", *arguments], input=stdin, text=True, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(client: PluginClient, inputs: dict[str, Any]) -> str:
    with pytest.raises(grpc.RpcError) as error:
        client.create(inputs)
    return refused(error)


# -- private keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "header", "shown", "ssh"),
    [
        ({"algorithm": "RSA"}, "RSA PRIVATE KEY", "2048 bit", "ssh-rsa"),
        ({"algorithm": "RSA", "rsaBits": 3072}, "RSA PRIVATE KEY", "3072 bit", "ssh-rsa"),
        ({"algorithm": "ECDSA"}, "EC PRIVATE KEY", "secp224r1", ""),
        ({"algorithm": "ECDSA", "ecdsaCurve": "P256"}, "EC PRIVATE KEY", "prime256v1", "ecdsa-sha2-nistp256"),
        ({"algorithm": "ECDSA", "ecdsaCurve": "P384"}, "EC PRIVATE KEY", "secp384r1", "ecdsa-sha2-nistp384"),
        ({"algorithm": "ECDSA", "ecdsaCurve": "P521"}, "EC PRIVATE KEY", "secp521r1", "ecdsa-sha2-nistp521"),
        ({"algorithm": "ED25519"}, "PRIVATE KEY", "ED25519", "ssh-ed25519"),
    ],
)
def test_a_private_key_comes_in_every_format(  # noqa: PLR0917
    tls: PluginClient, tmp_path: Path, inputs: dict[str, Any], header: str, shown: str, ssh: str
) -> None:
    _, state = tls.create(inputs)
    pem, pkcs8 = state["privateKeyPem"].value, state["privateKeyPemPkcs8"].value
    assert pem.startswith(f"-----BEGIN {header}-----\n")
    assert pem.endswith(f"-----END {header}-----\n")
    assert pkcs8.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert shown in openssl("pkey", "-noout", "-text", stdin=pem)
    for text in (pem, pkcs8):
        assert openssl("pkey", "-pubout", stdin=text) == state["publicKeyPem"]
    if not ssh:
        ssh_names = ("privateKeyOpenssh", "publicKeyOpenssh", "publicKeyFingerprintMd5", "publicKeyFingerprintSha256")
        assert {Secret(""), ""} == {state[name] for name in ssh_names}
        return
    assert state["publicKeyOpenssh"].startswith(ssh + " ")
    assert state["publicKeyOpenssh"].endswith("\n")
    file = tmp_path / "key.pub"
    file.write_text(state["publicKeyOpenssh"])
    private = serialization.load_ssh_private_key(state["privateKeyOpenssh"].value.encode(), None)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert public.decode() == state["publicKeyOpenssh"].strip()
    for kind, name in (("sha256", "publicKeyFingerprintSha256"), ("md5", "publicKeyFingerprintMd5")):
        done = subprocess.run(
            ["ssh-keygen", "-l", "-E", kind, "-f", str(file)], text=True, capture_output=True, timeout=30, check=True
        )
        assert done.stdout.split()[1].removeprefix("MD5:") == state[name]


def test_the_id_of_a_private_key_is_the_sha1_sum_of_its_public_key(tls: PluginClient) -> None:
    identity, state = tls.create({"algorithm": "ED25519"})
    public = serialization.load_pem_public_key(state["publicKeyPem"].encode())
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert identity == state["id"] == hashlib.sha1(der.strip(b" \t\n\v\f\r"), usedforsecurity=False).hexdigest()


def test_the_defaults_of_a_private_key_are_in_its_state_and_not_in_its_inputs(tls: PluginClient) -> None:
    assert tls.check({"algorithm": "ED25519"}) == {"algorithm": "ED25519"}
    _, state = tls.create({"algorithm": "ED25519"})
    assert (state["ecdsaCurve"], state["rsaBits"]) == ("P224", 2048)


def test_private_keys_are_secret_outputs(tls: PluginClient) -> None:
    _, state = tls.create({"algorithm": "ECDSA", "ecdsaCurve": "P256"})
    private = {name for name, value in state.items() if isinstance(value, Secret)}
    assert private == {"privateKeyPem", "privateKeyPemPkcs8", "privateKeyOpenssh"}
    assert "PRIVATE" not in str([value for value in state.values() if not isinstance(value, Secret)])


def test_a_preview_makes_no_key(tls: PluginClient) -> None:
    identity, state = tls.create({"algorithm": "ED25519"}, preview=True)
    assert identity == ""
    assert state["privateKeyPem"] == Secret(UNKNOWN)
    assert state["publicKeyPem"] is UNKNOWN
    assert state["algorithm"] == "ED25519"


@pytest.mark.parametrize(("name", "value"), [("algorithm", "RSA"), ("ecdsaCurve", "P384"), ("rsaBits", 4096)])
def test_every_change_of_a_private_key_replaces_it(tls: PluginClient, name: str, value: object) -> None:
    old = {"algorithm": "ECDSA", "ecdsaCurve": "P256", "rsaBits": 2048}
    assert tls.diff({}, old, {**old, name: value}) == {name: Change.UPDATE_REPLACE}


def test_a_default_that_is_spelled_out_replaces_nothing(tls: PluginClient) -> None:
    assert tls.diff({}, {"algorithm": "RSA"}, {"algorithm": "RSA", "rsaBits": 2048, "ecdsaCurve": "P224"}) == {}


# -- requests -------------------------------------------------------------------------------------------------------


def test_a_request_has_all_it_was_given(tls: PluginClient) -> None:
    subject = {
        "commonName": "cn",
        "country": "DE",
        "emailAddress": "a@example.org",
        "locality": "l",
        "organization": "o",
        "organizationalUnit": "ou",
        "postalCode": "pc",
        "province": "p",
        "serialNumber": "sn",
        "streetAddresses": ["s1", "s2"],
    }
    names = {"dnsNames": ["a.b", "*.c"], "ipAddresses": ["10.0.0.1", "::1"], "uris": ["spiffe://a/b"]}
    identity, state = tls.of(REQUEST).create(
        {"privateKeyPem": new_key(tls)["privateKeyPem"], "subject": subject, **names}
    )
    request = x509.load_pem_x509_csr(state["certRequestPem"].encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == (
        "1.2.840.113549.1.9.1=a@example.org,2.5.4.5=sn,CN=cn,2.5.4.17=pc,STREET=s1+STREET=s2,ST=p,L=l,OU=ou,O=o,C=DE"
    )
    text = openssl("req", "-noout", "-text", "-verify", stdin=state["certRequestPem"])
    assert "DNS:a.b, DNS:*.c, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1, URI:spiffe://a/b" in text
    assert (state["keyAlgorithm"], len(identity)) == ("ECDSA", 40)
    assert isinstance(state["privateKeyPem"], Secret)


def test_a_request_without_names_has_no_extensions(tls: PluginClient) -> None:
    request = x509.load_pem_x509_csr(new_request(tls, subject={"commonName": "root"}).encode())
    assert list(request.extensions) == []


@pytest.mark.parametrize("key", [{"algorithm": "RSA"}, {"algorithm": "ED25519"}, {"ecdsaCurve": "P521"}])
def test_a_request_is_signed_by_keys_of_every_kind(tls: PluginClient, key: dict[str, Any]) -> None:
    for form in ("privateKeyPem", "privateKeyPemPkcs8"):
        made = tls.of(REQUEST).create({"privateKeyPem": new_key(tls, **key)[form]})[1]
        assert x509.load_pem_x509_csr(made["certRequestPem"].encode()).is_signature_valid


def test_every_change_of_a_request_replaces_it(tls: PluginClient) -> None:
    old = {"privateKeyPem": Secret("k"), "subject": {"commonName": "a"}, "dnsNames": ["a"], "ipAddresses": ["1.1.1.1"]}
    client = tls.of(REQUEST)
    assert client.diff({}, old, {**old, "privateKeyPem": Secret("l")}) == {"privateKeyPem": Change.UPDATE_REPLACE}
    assert client.diff({}, old, {**old, "subject": {"commonName": "b"}}) == {
        "subject.commonName": Change.UPDATE_REPLACE
    }
    assert client.diff({}, old, {**old, "dnsNames": ["a", "b"]}) == {"dnsNames[1]": Change.ADD_REPLACE}
    assert client.diff({}, old, {**old, "ipAddresses": ["1.1.1.2"]}) == {"ipAddresses[0]": Change.UPDATE_REPLACE}
    assert client.diff({}, old, {**old, "uris": ["spiffe://a"]}) == {"uris": Change.ADD_REPLACE}
    assert client.diff({}, old, old) == {}


# -- certificates ---------------------------------------------------------------------------------------------------


def test_a_certificate_authority_signs_itself(tls: PluginClient) -> None:
    identity, state = tls.of(SELF).create({**CA, "privateKeyPem": new_key(tls)["privateKeyPem"]})
    certificate = parsed(state)
    assert identity == state["id"] == str(certificate.serial_number)
    assert certificate.subject == certificate.issuer
    certificate.verify_directly_issued_by(certificate)
    constraints = extension(certificate, x509.BasicConstraints)
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(True, None))
    usage = extension(certificate, x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.key_encipherment
    key_id = extension(certificate, x509.SubjectKeyIdentifier).value
    assert key_id == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    kinds = [type(entry.value) for entry in certificate.extensions]
    assert kinds == [x509.KeyUsage, x509.BasicConstraints, x509.SubjectKeyIdentifier]
    assert state["keyAlgorithm"] == "ECDSA"


def test_the_length_of_the_path_is_encoded_but_for_zero(tls: PluginClient) -> None:
    for given, encoded in ((3, 3), (-1, None), (0, None)):
        assert extension(parsed(new_ca(tls, maxPathLength=given)), x509.BasicConstraints).value.path_length == encoded


def test_a_self_signed_certificate_has_key_identifiers_when_asked(tls: PluginClient) -> None:
    state = new_ca(tls, isCaCertificate=False, setSubjectKeyId=True, setAuthorityKeyId=True)
    key_id = extension(parsed(state), x509.SubjectKeyIdentifier).value.digest
    assert extension(parsed(state), x509.AuthorityKeyIdentifier).value.key_identifier == key_id
    kinds = {type(entry.value) for entry in parsed(new_ca(tls, isCaCertificate=False)).extensions}
    assert kinds == {x509.KeyUsage, x509.BasicConstraints}


def test_a_certificate_begins_now_and_ends_when_asked(tls: PluginClient) -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    state = new_ca(tls, validityPeriodHours=48)
    certificate = parsed(state)
    assert before <= certificate.not_valid_before_utc <= datetime.now(timezone.utc)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(hours=48)
    times = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
    assert times.fullmatch(state["validityStartTime"])
    assert times.fullmatch(state["validityEndTime"])


def test_serial_numbers_are_random_and_of_128_bits(tls: PluginClient) -> None:
    serials = {parsed(new_ca(tls)).serial_number for _ in range(8)}
    assert len(serials) == 8
    assert max(serials).bit_length() > 120
    assert max(serials).bit_length() <= 128


def test_a_leaf_is_signed_by_its_authority_and_openssl_agrees(tls: PluginClient, tmp_path: Path) -> None:
    ca = new_ca(tls)
    request = new_request(tls, subject={"commonName": "etcd-1"}, dnsNames=["localhost"], ipAddresses=["10.0.0.1"])
    identity, state = tls.of(LOCAL).create(leaf_inputs(ca, request))
    leaf, authority = parsed(state), parsed(ca)
    assert identity == str(leaf.serial_number)
    leaf.verify_directly_issued_by(authority)
    assert leaf.issuer.public_bytes() == authority.subject.public_bytes()
    ca_id = extension(authority, x509.SubjectKeyIdentifier).value.digest
    assert extension(leaf, x509.AuthorityKeyIdentifier).value.key_identifier == ca_id
    constraints = extension(leaf, x509.BasicConstraints)
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(False, None))
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert list(extension(leaf, x509.ExtendedKeyUsage).value) == uses
    alternative = extension(leaf, x509.SubjectAlternativeName)
    assert not alternative.critical
    assert alternative.value.get_values_for_type(x509.DNSName) == ["localhost"]
    with pytest.raises(x509.ExtensionNotFound):
        extension(leaf, x509.SubjectKeyIdentifier)
    (tmp_path / "ca.pem").write_text(ca["certPem"])
    (tmp_path / "leaf.pem").write_text(state["certPem"])
    for purpose in ("sslserver", "sslclient"):
        chain = ("-purpose", purpose, "-CAfile", str(tmp_path / "ca.pem"))
        assert ": OK" in openssl("verify", *chain, str(tmp_path / "leaf.pem"))
    assert state["caKeyAlgorithm"] == "ECDSA"
    assert isinstance(state["caPrivateKeyPem"], Secret)


def test_a_name_only_in_the_alternatives_is_critical(tls: PluginClient) -> None:
    state = tls.of(LOCAL).create(leaf_inputs(new_ca(tls), new_request(tls, dnsNames=["a"])))[1]
    assert extension(parsed(state), x509.SubjectAlternativeName).critical


def test_a_leaf_has_a_subject_key_identifier_when_asked(tls: PluginClient) -> None:
    inputs = leaf_inputs(new_ca(tls), new_request(tls), setSubjectKeyId=True)
    certificate = parsed(tls.of(LOCAL).create(inputs)[1])
    expected = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    assert extension(certificate, x509.SubjectKeyIdentifier).value == expected


def test_the_key_identifier_of_an_ed25519_key_is_made_as_the_official_plugin_makes_it(tls: PluginClient) -> None:
    certificate = parsed(new_ca(tls, privateKeyPem=tls.create({"algorithm": "ED25519"})[1]["privateKeyPem"]))
    raw = certificate.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    expected = hashlib.sha1(b"\x04\x20" + raw, usedforsecurity=False).digest()
    assert extension(certificate, x509.SubjectKeyIdentifier).value.digest == expected


def test_an_intermediate_authority_is_made_from_a_request(tls: PluginClient, tmp_path: Path) -> None:
    ca = new_ca(tls)
    key = new_key(tls)["privateKeyPem"]
    request = tls.of(REQUEST).create({"privateKeyPem": key, "subject": {"commonName": "middle"}})[1]["certRequestPem"]
    wanted = leaf_inputs(ca, request, isCaCertificate=True, allowedUses=["cert_signing"], maxPathLength=1)
    middle = tls.of(LOCAL).create(wanted)[1]
    leaf = tls.of(LOCAL).create(leaf_inputs({**middle, "privateKeyPem": key}, new_request(tls, dnsNames=["a"])))[1]
    for name, state in (("ca", ca), ("middle", middle), ("leaf", leaf)):
        (tmp_path / name).write_text(state["certPem"])
    chain = ("-CAfile", str(tmp_path / "ca"), "-untrusted", str(tmp_path / "middle"))
    assert ": OK" in openssl("verify", *chain, str(tmp_path / "leaf"))


def test_a_request_loses_its_email_address_as_in_go(tls: PluginClient) -> None:
    request = new_request(tls, subject={"commonName": "a", "emailAddress": "a@example.org"})
    subject = parsed(tls.of(LOCAL).create(leaf_inputs(new_ca(tls), request))[1]).subject
    assert [attribute.oid for attribute in subject] == [NameOID.COMMON_NAME]


@pytest.mark.parametrize("use", [use for use in USES if use not in ("encipher_only", "decipher_only")])
def test_every_use_ends_up_in_the_certificate(tls: PluginClient, use: str) -> None:
    certificate = parsed(new_ca(tls, isCaCertificate=False, allowedUses=[use]))
    kinds = {type(entry.value) for entry in certificate.extensions}
    assert len(kinds & {x509.KeyUsage, x509.ExtendedKeyUsage}) == 1


def test_a_key_that_is_not_the_authority_s_is_refused(tls: PluginClient) -> None:
    inputs = leaf_inputs(new_ca(tls), new_request(tls), caPrivateKeyPem=new_key(tls)["privateKeyPem"])
    assert "provided PrivateKey doesn't match parent's PublicKey" in refusal(tls.of(LOCAL), inputs)


def test_an_authority_that_is_none_is_worth_a_warning(tls: PluginClient) -> None:
    before = len(tls.messages)
    tls.of(LOCAL).create(leaf_inputs(new_ca(tls, isCaCertificate=False), new_request(tls)))
    (warning,) = tls.messages[before:]
    assert "does not appear to be a valid Certificate Authority" in warning.message
    assert warning.severity == 2


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"subject": {}}, "Must contain at least one Distinguished Name"),
        ({"privateKeyPem": "nonsense"}, "Failed to parse private key PEM"),
        ({"isCaCertificate": False, "maxPathLength": 1}, "only CAs are allowed to specify MaxPathLen"),
        ({"isCaCertificate": False, "setAuthorityKeyId": True}, "Could not determine Authority Key Identifier"),
    ],
)
def test_a_certificate_that_cannot_be_made_is_refused(tls: PluginClient, more: dict[str, Any], text: str) -> None:
    assert text in refusal(tls.of(SELF), {**CA, "privateKeyPem": new_key(tls)["privateKeyPem"], **more})


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("certRequestPem", "x", 'failed to decode PEM of expected type "CERTIFICATE REQUEST"'),
        ("caCertPem", "-----BEGIN X-----\n", 'invalid PEM type - expected "CERTIFICATE", got "X"'),
        ("caPrivateKeyPem", "-----BEGIN X-----\n", "unsupported PEM preamble/type: X"),
    ],
)
def test_a_pem_that_is_not_what_it_should_be_is_refused(tls: PluginClient, name: str, value: str, text: str) -> None:
    inputs = leaf_inputs(new_ca(tls), new_request(tls), **{name: value})
    assert text in refusal(tls.of(LOCAL), inputs)


@pytest.mark.parametrize(
    ("token", "given", "path", "reason"),
    [
        (KEY, {}, "algorithm", "missing"),
        (KEY, {"algorithm": "DSA"}, "algorithm", "must be one of RSA, ECDSA, ED25519"),
        (KEY, {"algorithm": "ECDSA", "ecdsaCurve": "P-256"}, "ecdsaCurve", "must be one of P224"),
        (KEY, {"algorithm": "RSA", "rsaBits": "2048"}, "rsaBits", "must be an integer, and a string"),
        (KEY, {"algorithm": "RSA", "rsaBits": 2048.5}, "rsaBits", "must be a whole number"),
        (KEY, {"algorithm": "RSA", "bits": 1}, "bits", "no property called 'bits'"),
        (REQUEST, {"privateKeyPem": "k", "ipAddresses": ["10.0.0.300"]}, "ipAddresses[0]", "Invalid IP address"),
        (REQUEST, {"privateKeyPem": "k", "dnsNames": [1]}, "dnsNames[0]", "must be a string"),
        (REQUEST, {"privateKeyPem": "k", "subject": {"cn": "a"}}, "subject.cn", "no property called 'cn'"),
        (REQUEST, {"privateKeyPem": "k", "privateKeyPemWo": "k"}, "privateKeyPemWo", "no property called"),
        (SELF, {**CA, "privateKeyPem": "k", "validityPeriodHours": -1}, "validityPeriodHours", "at least 0"),
        (SELF, {**CA, "privateKeyPem": "k", "maxPathLength": -2}, "maxPathLength", "at least -1"),
        (SELF, {**CA, "privateKeyPem": "k", "allowedUses": ["all"]}, "allowedUses[0]", "must be one of any_extended"),
        (SELF, {**CA, "privateKeyPem": "k", "uris": ["http://[a"]}, "uris[0]", "Invalid URI"),
    ],
)
def test_an_input_that_is_wrong_is_refused(
    tls: PluginClient, token: str, given: dict[str, Any], path: str, reason: str
) -> None:
    failures = tls.of(token).failures(given)
    assert list(failures) == [path]
    assert reason in failures[path]


def test_what_is_not_known_yet_passes_the_check_and_the_preview(tls: PluginClient) -> None:
    client = tls.of(LOCAL)
    given = leaf_inputs({"certPem": UNKNOWN, "privateKeyPem": Secret(UNKNOWN)}, "x", certRequestPem=UNKNOWN)
    _, state = client.create(given, preview=True)
    assert state["certPem"] is UNKNOWN
    assert state["readyForRenewal"] is False
    assert state["isCaCertificate"] is False


def test_every_change_of_a_certificate_replaces_it(tls: PluginClient) -> None:
    client = tls.of(SELF)
    old = {**CA, "privateKeyPem": "k"}
    for change in (
        {"privateKeyPem": "l"},
        {"validityPeriodHours": 1},
        {"allowedUses": ["cert_signing"]},
        {"isCaCertificate": False},
        {"maxPathLength": 1},
        {"setSubjectKeyId": True},
        {"setAuthorityKeyId": True},
        {"subject": {"commonName": "b"}},
        {"dnsNames": ["a"]},
        {"ipAddresses": ["1.1.1.1"]},
        {"uris": ["spiffe://a"]},
    ):
        changes = client.diff({}, old, {**old, **change})
        assert changes, change
        assert all(kind & 1 for kind in changes.values()), change


# -- renewal --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "hours", "early", "due"), [(SELF, 2, 1, False), (SELF, 1, 1, True), (LOCAL, 1, 1, True)]
)
def test_a_certificate_in_its_renewal_window_is_replaced(
    tls: PluginClient, token: str, hours: int, early: int, due: bool
) -> None:
    more = {"validityPeriodHours": hours, "earlyRenewalHours": early}
    inputs = {**CA, "privateKeyPem": new_key(tls)["privateKeyPem"], **more}
    if token == LOCAL:
        inputs = leaf_inputs(new_ca(tls), new_request(tls), **more)
    client = tls.of(token)
    _, state = client.create(inputs)
    assert state["readyForRenewal"] is due
    assert client.diff(state, inputs, inputs) == ({"readyForRenewal": Change.UPDATE_REPLACE} if due else {})


def test_the_clock_decides_and_not_what_the_state_said(tls: PluginClient) -> None:
    client = tls.of(SELF)
    inputs = {**CA, "privateKeyPem": new_key(tls)["privateKeyPem"], "earlyRenewalHours": 24, "validityPeriodHours": 48}
    _, state = client.create(inputs)
    now = datetime.now(timezone.utc)
    for end, due in ((now + timedelta(hours=23), True), (now + timedelta(hours=25), False), (now, True)):
        for text in (end.isoformat(), end.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")):
            aged = {**state, "validityEndTime": text}
            assert ("readyForRenewal" in client.diff(aged, inputs, inputs)) is due
            assert client.read(aged, inputs)[1]["readyForRenewal"] is due


def test_another_renewal_window_is_an_update_in_place_that_keeps_the_certificate(tls: PluginClient) -> None:
    client = tls.of(SELF)
    old = {**CA, "privateKeyPem": new_key(tls)["privateKeyPem"], "earlyRenewalHours": 24}
    _, state = client.create(old)
    new = {**old, "earlyRenewalHours": 48}
    assert client.diff(state, old, new) == {"earlyRenewalHours": Change.UPDATE}
    for preview in (True, False):
        assert client.update(state, old, new, preview=preview) == {**state, "earlyRenewalHours": 48}


def test_a_window_that_now_covers_the_present_replaces(tls: PluginClient) -> None:
    client = tls.of(SELF)
    old = {**CA, "privateKeyPem": new_key(tls)["privateKeyPem"], "validityPeriodHours": 48, "earlyRenewalHours": 24}
    _, state = client.create(old)
    assert client.diff(state, old, {**old, "earlyRenewalHours": 47}) == {"earlyRenewalHours": Change.UPDATE}
    changes = client.diff(state, old, {**old, "earlyRenewalHours": 48})
    assert changes["readyForRenewal"] == Change.UPDATE_REPLACE
