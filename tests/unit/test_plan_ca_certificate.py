"""A user's own CA is checked before it is used."""

import datetime
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from components.plan import check_authority

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def pem(key: Key, passphrase: bytes | None = None, traditional: bool = False) -> str:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    format_ = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, format_, encryption).decode()


def certificate(
    key: Key = EC_KEY,
    *,
    authority: bool | None = True,
    start: datetime.datetime = NOW - DAY,
    end: datetime.datetime = NOW + 3650 * DAY,
    signing: bool | None = True,
    issuer: str = "our-ca",
    limit: x509.ExtensionType | None = None,
) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "our-ca")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
    if signing is not None:
        usages = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        usage = x509.KeyUsage(digital_signature=True, key_cert_sign=signing, crl_sign=signing, **usages)
        builder = builder.add_extension(usage, critical=True)
    if limit is not None:
        builder = builder.add_extension(limit, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def problems(given: str, key: str, hours: int = 8760) -> list[str]:
    found = check_authority(given, key, hours, now=NOW.timestamp())
    for problem in found:
        assert problem.key in ("authority.certificate", "authority.private_key")
        for text in (given, key):
            lines = [line for line in text.splitlines() if len(line) > 20 and not line.startswith("-----")]
            assert not [line for line in lines if line in str(problem)], "a message repeats the input"
    return [str(problem) for problem in found]


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY, ed25519.Ed25519PrivateKey.generate()])
@pytest.mark.parametrize("signing", [True, None])
def test_a_valid_authority_is_accepted_with_every_kind_of_key(key: Key, signing: bool | None) -> None:
    assert problems(certificate(key, signing=signing), pem(key)) == []


def test_a_key_in_the_traditional_format_is_accepted() -> None:
    for key in (EC_KEY, RSA_KEY):
        assert problems(certificate(key), pem(key, traditional=True)) == []


def test_text_around_the_pem_blocks_is_accepted() -> None:
    assert problems(f"our CA, since 2020\n{certificate()}\n", f"\n{pem(EC_KEY)}\n\n") == []


@pytest.mark.parametrize("key", [OTHER_KEY, RSA_KEY])
def test_a_key_of_another_certificate_is_refused(key: Key) -> None:
    [problem] = problems(certificate(), pem(key))
    assert "belong to the certificate" in problem


def test_an_encrypted_key_is_refused_without_a_prompt() -> None:
    [problem] = problems(certificate(), pem(EC_KEY, b"hunter2"))
    assert "Remove the passphrase" in problem


@pytest.mark.parametrize("key", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_an_invalid_key_is_refused(key: str) -> None:
    [problem] = problems(certificate(), key)
    assert "authority.private_key" in problem
    assert "PEM format" in problem


@pytest.mark.parametrize(
    "text",
    ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", certificate() * 2, certificate()[:200]],
)
def test_an_authority_must_be_exactly_one_certificate(text: str) -> None:
    [problem] = problems(text, pem(EC_KEY))
    assert "exactly one X.509 certificate" in problem


@pytest.mark.parametrize(
    ("authority", "signing"), [(False, False), (False, True), (None, None), (None, True), (True, False)]
)
def test_an_authority_must_be_allowed_to_sign(authority: bool | None, signing: bool | None) -> None:
    [problem] = problems(certificate(authority=authority, signing=signing), pem(EC_KEY))
    assert "allowed to sign others" in problem


def test_an_intermediate_authority_is_refused() -> None:
    [problem] = problems(certificate(issuer="the-root"), pem(EC_KEY))
    assert "must be a root" in problem


def test_an_expired_authority_is_refused() -> None:
    [problem] = problems(certificate(end=NOW - datetime.timedelta(seconds=1)), pem(EC_KEY))
    assert "must not have expired" in problem
    assert "commonName=our-ca" in problem
    assert "2026-10-31T23:59:59Z" in problem


def test_an_authority_must_be_valid_already() -> None:
    [problem] = problems(certificate(start=NOW + DAY, end=NOW + 2 * DAY), pem(EC_KEY))
    assert "must be valid already" in problem


def test_an_authority_must_outlive_its_certificates() -> None:
    ends = NOW + datetime.timedelta(hours=100)
    [problem] = problems(certificate(end=ends), pem(EC_KEY), hours=101)
    assert "valid for 101 hours, the CA for 100 more" in problem
    assert problems(certificate(end=ends), pem(EC_KEY), hours=100) == []


def test_two_faults_are_reported_together() -> None:
    assert len(problems(certificate(end=NOW - datetime.timedelta(hours=1)), pem(OTHER_KEY))) == 2


def test_the_key_file_is_private_and_deleted_after_the_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # For systems without memfd.
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes = []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        modes.append(path.stat().st_mode & 0o777)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    assert problems(certificate(), pem(EC_KEY)) == []
    assert len(problems(certificate(), pem(OTHER_KEY))) == 1
    assert modes == [0o600, 0o600]
    assert list(tmp_path.iterdir()) == []


SERVERS, CLIENTS = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.mark.parametrize(
    ("limit", "given"),
    [
        (x509.NameConstraints([x509.DNSName("example.com")], None), "a certificate with name constraints"),
        (x509.ExtendedKeyUsage([SERVERS]), "a certificate with extended key usages"),
        (x509.ExtendedKeyUsage([CLIENTS]), "a certificate with extended key usages"),
        (x509.ExtendedKeyUsage([SERVERS, CLIENTS]), None),
    ],
)
def test_a_ca_whose_limits_exclude_members_is_refused(limit: x509.ExtensionType, given: str | None) -> None:
    found = check_authority(certificate(limit=limit), pem(EC_KEY), 8760, NOW.timestamp())
    assert [problem.value for problem in found] == ([] if given is None else [given])
