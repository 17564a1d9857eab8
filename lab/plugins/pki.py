"""Keys, requests and certificates as Go's crypto/x509 writes them. Slow to import."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .server import ProviderError

# Users' own CAs have any of these; this module itself creates only ECDSA P-256 and Ed25519.
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_ALGORITHMS = {rsa.RSAPrivateKey: "RSA", ec.EllipticCurvePrivateKey: "ECDSA", ed25519.Ed25519PrivateKey: "ED25519"}

_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_EXTENDED = {"server_auth": ExtendedKeyUsageOID.SERVER_AUTH, "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH}


def private_key(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A new key pair, ECDSA P-256 or ED25519, in the formats that the components read."""
    ecdsa = inputs["algorithm"] == "ECDSA"
    key = ec.generate_private_key(ec.SECP256R1()) if ecdsa else ed25519.Ed25519PrivateKey.generate()
    pem = PrivateFormat.TraditionalOpenSSL if ecdsa else PrivateFormat.PKCS8
    public = key.public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "privateKeyPem": key.private_bytes(Encoding.PEM, pem, NoEncryption()).decode(),
        "privateKeyOpenssh": key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        "publicKeyOpenssh": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + "\n",
        "id": _identity(der),
    }


def request(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate request. Raises ProviderError for an invalid key."""
    key, algorithm = _load_key(inputs["privateKeyPem"], "private key")
    names = [
        *(x509.DNSName(name) for name in inputs.get("dnsNames", [])),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in inputs.get("ipAddresses", [])),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(inputs))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(key, _hash(key))
    return {
        "certRequestPem": made.public_bytes(Encoding.PEM).decode(),
        "keyAlgorithm": algorithm,
        "id": _identity(made.public_bytes(Encoding.DER)),
    }


def self_signed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A self-signed certificate, valid from now on. Raises ProviderError for an invalid key."""
    key, algorithm = _load_key(inputs["privateKeyPem"], "private key")
    subject = _subject(inputs)
    public = key.public_key()
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(public)
    if inputs["isCaCertificate"] or inputs["setSubjectKeyId"]:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return {**_sign(builder, inputs, key), "keyAlgorithm": algorithm}


def locally_signed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate for a request, signed by a CA. Raises ProviderError if an input is invalid."""
    wanted = _load(x509.load_pem_x509_csr, inputs["certRequestPem"], "certificate request")
    key, algorithm = _load_key(inputs["caPrivateKeyPem"], "CA private key")
    issuer = _load(x509.load_pem_x509_certificate, inputs["caCertPem"], "CA certificate")
    if issuer.public_key() != key.public_key():
        raise ProviderError("Failed to create certificate: x509: provided PrivateKey doesn't match parent's PublicKey")
    builder = x509.CertificateBuilder().subject_name(wanted.subject).issuer_name(issuer.subject)
    builder = builder.public_key(wanted.public_key())
    issuer_id = _extension(issuer, x509.SubjectKeyIdentifier)
    if issuer_id is not None and wanted.subject != issuer.subject:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(issuer_id.digest, None, None), critical=False)
    names = _extension(wanted, x509.SubjectAlternativeName)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return {**_sign(builder, inputs, key), "caKeyAlgorithm": algorithm}


def _sign(builder: x509.CertificateBuilder, inputs: Mapping[str, Any], key: Key) -> dict[str, Any]:
    now, uses, is_authority = time.time_ns(), set(inputs["allowedUses"]), bool(inputs.get("isCaCertificate"))
    start = datetime.fromtimestamp(now // 10**9, timezone.utc)
    life = timedelta(hours=int(inputs["validityPeriodHours"]))
    serial = int.from_bytes(os.urandom(16), "big") or 1
    builder = builder.serial_number(serial).not_valid_before(start).not_valid_after(start + life)
    usages = {usage: usage in uses for usage in _USAGES} | {"key_cert_sign": "cert_signing" in uses}
    if any(usages.values()):
        builder = builder.add_extension(x509.KeyUsage(**usages), critical=True)
    extended = [_EXTENDED[use] for use in inputs["allowedUses"] if use in _EXTENDED]
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    made = builder.sign(key, _hash(key))
    return {
        "certPem": made.public_bytes(Encoding.PEM).decode(),
        "validityStartTime": _go_time(start, now),
        "validityEndTime": _go_time(start + life, now),
        "id": str(serial),
    }


def _subject(inputs: Mapping[str, Any]) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, inputs["subject"]["commonName"])])
    except ValueError as error:
        raise ProviderError(f"Invalid Certificate Subject: {error}") from error


def _hash(key: Key) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    size = key.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 0
    return hashes.SHA384() if size == 384 else hashes.SHA512() if size == 521 else hashes.SHA256()


def _go_time(moment: datetime, now: int) -> str:
    """RFC 3339 in local time, with the nanoseconds of `now`."""
    text = moment.astimezone().isoformat()
    fraction = f".{now % 10**9:09d}".rstrip("0").rstrip(".")
    zone = text[19:]
    return text[:19] + fraction + ("Z" if zone == "+00:00" else zone)


def _identity(der: bytes) -> str:
    # The official plugin converts the bytes to text and trims white space before it hashes them.
    return hashlib.sha1(der.strip(b" \t\n\v\f\r"), usedforsecurity=False).hexdigest()


def _extension(of: Any, kind: Any) -> Any:
    try:
        return of.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _load_key(text: str, what: str) -> tuple[Any, str]:
    key = _load(lambda data: load_pem_private_key(data, None), text, what)
    for kind, name in _ALGORITHMS.items():
        if isinstance(key, kind):
            return key, name
    raise ProviderError(f"Failed to parse {what} PEM: unsupported private key type: {type(key).__name__}")


def _load(load: Any, text: str, what: str) -> Any:
    try:
        return load(text.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Never show the cause: it may contain parts of a key.
        raise ProviderError(f"Failed to parse {what} PEM") from None
