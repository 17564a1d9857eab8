"""Keys, requests and certificates, as crypto/x509 of Go writes them. Takes a while to import."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Use
from cryptography.x509.oid import NameOID

from .server import ProviderError

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "P224": ec.SECP224R1,
    "P256": ec.SECP256R1,
    "P384": ec.SECP384R1,
    "P521": ec.SECP521R1,
}

# The argument of x509.KeyUsage for each use.
_USAGES = {
    "digital_signature": "digital_signature",
    "content_commitment": "content_commitment",
    "key_encipherment": "key_encipherment",
    "data_encipherment": "data_encipherment",
    "key_agreement": "key_agreement",
    "cert_signing": "key_cert_sign",
    "crl_signing": "crl_sign",
    "encipher_only": "encipher_only",
    "decipher_only": "decipher_only",
}

_EXTENDED = {
    "any_extended": Use.ANY_EXTENDED_KEY_USAGE,
    "server_auth": Use.SERVER_AUTH,
    "client_auth": Use.CLIENT_AUTH,
    "code_signing": Use.CODE_SIGNING,
    "email_protection": Use.EMAIL_PROTECTION,
    "ipsec_end_system": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec_tunnel": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec_user": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": Use.TIME_STAMPING,
    "ocsp_signing": Use.OCSP_SIGNING,
    "microsoft_server_gated_crypto": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape_server_gated_crypto": x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
    "microsoft_commercial_code_signing": x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.22"),
    "microsoft_kernel_code_signing": x509.ObjectIdentifier("1.3.6.1.4.1.311.61.1.1"),
}

# In the order of Go's distinguished names, which is not the order in which they were given.
_NAMES = (
    ("country", NameOID.COUNTRY_NAME),
    ("organization", NameOID.ORGANIZATION_NAME),
    ("organizationalUnit", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("locality", NameOID.LOCALITY_NAME),
    ("province", NameOID.STATE_OR_PROVINCE_NAME),
    ("streetAddresses", NameOID.STREET_ADDRESS),
    ("postalCode", NameOID.POSTAL_CODE),
    ("commonName", NameOID.COMMON_NAME),
    ("serialNumber", NameOID.SERIAL_NUMBER),
)


# -- keys ------------------------------------------------------------------------------------------------------------


def private_key(algorithm: str, curve: str, bits: int) -> dict[str, Any]:
    """A new key pair, in every format. Raises ProviderError when there is none of this size."""
    key: Key
    try:
        if algorithm == "RSA":
            key = rsa.generate_private_key(65537, bits)
        elif algorithm == "ECDSA":
            key = ec.generate_private_key(_CURVES[curve]())
        else:
            key = ed25519.Ed25519PrivateKey.generate()
    except ValueError as error:
        raise ProviderError(f"Unable to generate Key from configuration: {error}") from error
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    traditional = pkcs8 if algorithm == "ED25519" else serialization.PrivateFormat.TraditionalOpenSSL
    der = _public_der(key)
    ssh = _openssh(key)
    return {
        "privateKeyPem": key.private_bytes(pem, traditional, plain).decode(),
        "privateKeyPemPkcs8": key.private_bytes(pem, pkcs8, plain).decode(),
        "publicKeyPem": key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
        **ssh,
        "id": _identity(der),
    }


def _openssh(key: Key) -> dict[str, str]:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size == 224:
        # OpenSSH has no such keys.
        names = ("privateKeyOpenssh", "publicKeyOpenssh", "publicKeyFingerprintMd5", "publicKeyFingerprintSha256")
        return dict.fromkeys(names, "")
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    blob = base64.b64decode(public.split()[1])
    md5 = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    sha256 = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return {
        "privateKeyOpenssh": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ).decode(),
        "publicKeyOpenssh": public.decode() + "\n",
        "publicKeyFingerprintMd5": ":".join(md5[at : at + 2] for at in range(0, len(md5), 2)),
        "publicKeyFingerprintSha256": f"SHA256:{sha256}",
    }


def _public_der(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _identity(der: bytes) -> str:
    # The official plugin takes the bytes for a text and trims white space off its ends before it makes the sum.
    return hashlib.sha1(der.strip(b" \t\n\v\f\r"), usedforsecurity=False).hexdigest()


def _load_key(text: str, what: str) -> tuple[Key, str]:
    label = _label(text)
    if label not in ("RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"):
        cause = f"unsupported PEM preamble/type: {label}" if label else f"failed to decode PEM block: {len(text)} bytes"
        raise ProviderError(f"Failed to parse {what} PEM: {cause}")
    try:
        key = serialization.load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ProviderError(
            f"Failed to parse {what} PEM: failed to parse private key given PEM preamble '{label}': {_first(error)}"
        ) from None
    if isinstance(key, rsa.RSAPrivateKey):
        return key, "RSA"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key, "ECDSA"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key, "ED25519"
    raise ProviderError(f"Failed to parse {what} PEM: unsupported private key type: {type(key).__name__}")


def _label(text: str) -> str:
    """The label of the first PEM block."""
    _before, begin, rest = text.partition("-----BEGIN ")
    label, end, _rest = rest.partition("-----")
    return label if begin and end else ""


def _first(error: BaseException) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


# -- requests --------------------------------------------------------------------------------------------------------


def request(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate request. Raises ProviderError for a key that is none."""
    key, algorithm = _load_key(inputs["privateKeyPem"], "private key")
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(inputs.get("subject", {})))
    names = _alternative_names(inputs)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not inputs.get("subject"))
    made = builder.sign(key, _hash(key))
    return {
        "certRequestPem": made.public_bytes(serialization.Encoding.PEM).decode(),
        "keyAlgorithm": algorithm,
        "id": _identity(made.public_bytes(serialization.Encoding.DER)),
    }


def _subject(given: Mapping[str, Any]) -> x509.Name:
    several = {field: value if isinstance(value, list) else [value] for field, value in given.items()}
    names = [[_attribute(oid, value) for value in several.get(field, [])] for field, oid in _NAMES]
    return _name([*names, [_attribute(NameOID.EMAIL_ADDRESS, value) for value in several.get("emailAddress", [])]])


def _name(attributes: list[list[x509.NameAttribute[str]]]) -> x509.Name:
    """Like Go: several values of one kind are one part of the name."""
    return x509.Name([x509.RelativeDistinguishedName(part) for part in attributes if part])


def _attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
    try:
        return x509.NameAttribute(oid, value)
    except ValueError as error:
        raise ProviderError(f"Invalid Certificate Subject: {_first(error)}") from error


def _alternative_names(inputs: Mapping[str, Any]) -> list[x509.GeneralName]:
    return [
        *(x509.DNSName(name) for name in inputs.get("dnsNames", [])),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in inputs.get("ipAddresses", [])),
        *(x509.UniformResourceIdentifier(uri) for uri in inputs.get("uris", [])),
    ]


def _hash(key: Key) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    size = key.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 0
    return hashes.SHA384() if size == 384 else hashes.SHA512() if size == 521 else hashes.SHA256()


# -- certificates ----------------------------------------------------------------------------------------------------


def self_signed(inputs: Mapping[str, Any], now: int) -> dict[str, Any]:
    """A certificate signed by its own key, valid from `now` (ns). Raises ProviderError for what cannot be made."""
    key, algorithm = _load_key(inputs["privateKeyPem"], "private key")
    subject = _subject(inputs.get("subject", {}))
    key_id = _key_id(key.public_key()) if inputs["setSubjectKeyId"] or inputs["isCaCertificate"] else None
    if inputs["setAuthorityKeyId"] and key_id is None:
        raise ProviderError("Invalid Certificate Authority: Could not determine Authority Key Identifier")
    authority = key_id if inputs["setAuthorityKeyId"] else None
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    return {
        **_sign(builder, inputs, _alternative_names(inputs), key_id, authority, key, now),
        "keyAlgorithm": algorithm,
    }


def locally_signed(inputs: Mapping[str, Any], now: int, warn: Callable[[str], None]) -> dict[str, Any]:
    """A certificate for a request, signed by an authority. Raises ProviderError for what cannot be made."""
    wanted = _load_request(inputs["certRequestPem"])
    key, algorithm = _load_key(inputs["caPrivateKeyPem"], "CA private key")
    issuer = _load_certificate(inputs["caCertPem"])
    if not _is_authority(issuer):
        warn(
            "Potentially Invalid Certificate Authority: Certificate provided as Authority does not appear to be a "
            "valid Certificate Authority. The resulting certificate might fail certificate validation."
        )
    issuer_key = issuer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if issuer_key != _public_der(key):
        raise ProviderError("Failed to create certificate: x509: provided PrivateKey doesn't match parent's PublicKey")
    subject = _known_names(wanted.subject)
    public = wanted.public_key()
    key_id = _key_id(public) if inputs["setSubjectKeyId"] or inputs["isCaCertificate"] else None
    authority = None if subject == issuer.subject else _subject_key_id(issuer)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject)
    builder = builder.public_key(public)
    try:
        alternative = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        kept = (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier)
        names = [name for kind in kept for name in alternative if isinstance(name, kind)]
    except x509.ExtensionNotFound:
        names = []
    return {**_sign(builder, inputs, names, key_id, authority, key, now), "caKeyAlgorithm": algorithm}


def _sign(  # noqa: PLR0917 (used twice, right above)
    builder: x509.CertificateBuilder,
    inputs: Mapping[str, Any],
    names: list[Any],
    key_id: bytes | None,
    authority: bytes | None,
    key: Key,
    now: int,
) -> dict[str, Any]:
    subject = builder._subject_name
    is_ca, length = bool(inputs["isCaCertificate"]), int(inputs.get("maxPathLength", -1))
    if is_ca and not subject:
        raise ProviderError(
            "Invalid Certificate Subject: Must contain at least one Distinguished Name when creating Certificate "
            "Authority (CA)"
        )
    if length > 0 and not is_ca:
        raise ProviderError("Failed to create certificate: x509: only CAs are allowed to specify MaxPathLen")
    start = datetime.fromtimestamp(now // 10**9, timezone.utc)
    life = timedelta(hours=int(inputs["validityPeriodHours"]))
    serial = secrets.randbelow(2**128 - 1) + 1
    builder = builder.serial_number(serial).not_valid_before(start).not_valid_after(start + life)
    uses = set(inputs["allowedUses"])
    usage = {argument: use in uses for use, argument in _USAGES.items()}
    if any(usage.values()):
        if not usage["key_agreement"] and (usage["encipher_only"] or usage["decipher_only"]):
            raise ProviderError("allowedUses: encipher_only and decipher_only only mean something with key_agreement")
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    extended = [_EXTENDED[use] for use in inputs["allowedUses"] if use in _EXTENDED]
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    # In Go a zero means: no limit was given. So does the official plugin, and a length of 0 is lost.
    constraints = x509.BasicConstraints(ca=is_ca, path_length=length if is_ca and length > 0 else None)
    builder = builder.add_extension(constraints, critical=True)
    if key_id is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(key_id), critical=False)
    if authority is not None:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(authority, None, None), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject)
    made = builder.sign(key, _hash(key))
    return {
        "certPem": made.public_bytes(serialization.Encoding.PEM).decode(),
        "validityStartTime": _go_time(start, now),
        "validityEndTime": _go_time(start + life, now),
        "id": str(serial),
    }


def _go_time(moment: datetime, now: int) -> str:
    """RFC 3339 in local time, with the nanoseconds of `now`."""
    text = moment.astimezone().isoformat()
    fraction = f".{now % 10**9:09d}".rstrip("0").rstrip(".")
    zone = text[19:]
    return text[:19] + fraction + ("Z" if zone == "+00:00" else zone)


def _key_id(public: Any) -> bytes:
    if isinstance(public, ed25519.Ed25519PublicKey):
        # The official plugin makes the sum over the key as an ASN.1 octet string.
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return hashlib.sha1(b"\x04\x20" + raw, usedforsecurity=False).digest()
    return x509.SubjectKeyIdentifier.from_public_key(public).digest


def _subject_key_id(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _known_names(subject: x509.Name) -> x509.Name:
    """The subject of a request as Go writes it into a certificate: in its own order, and without an e-mail address."""
    return _name([subject.get_attributes_for_oid(oid) for _field, oid in _NAMES])  # type: ignore[misc]


def _load_request(text: str) -> x509.CertificateSigningRequest:
    _expect(text, "CERTIFICATE REQUEST", "certificate request")
    try:
        return x509.load_pem_x509_csr(text.encode())
    except ValueError as error:
        raise ProviderError(
            f"Failed to parse certificate request PEM: failed to parse certificate request: {_first(error)}"
        ) from None


def _load_certificate(text: str) -> x509.Certificate:
    _expect(text, "CERTIFICATE", "CA certificate")
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise ProviderError(
            f"Failed to parse CA certificate PEM: failed to parse certificate: {_first(error)}"
        ) from None


def _expect(text: str, label: str, what: str) -> None:
    given = _label(text)
    if not given:
        raise ProviderError(f'Failed to parse {what} PEM: failed to decode PEM of expected type "{label}" from bytes')
    if given != label:
        raise ProviderError(f'Failed to parse {what} PEM: invalid PEM type - expected "{label}", got "{given}"')
