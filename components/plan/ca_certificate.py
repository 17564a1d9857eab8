"""Whether a CA that the user gave can be trusted, and can issue a cluster's certificates.

Standard library only.
"""

import base64
import os
import re
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import Problem

_HOUR = 3600
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
# basicConstraints (2.5.29.19) with CA:TRUE in DER. OpenSSL accepts old CA certificates without it, etcd does not, and
# Python's ssl does not show it.
_IS_AUTHORITY = re.compile(rb"\x06\x03\x55\x1d\x13(\x01\x01\xff)?\x04.\x30.\x01\x01\xff", re.DOTALL)
_KEY_ID = b"\x06\x03\x55\x1d\x0e"  # subjectKeyIdentifier (2.5.29.14) in DER
# Limits for what a CA issues (RFC 5280), in DER, which Python's ssl does not show either.
_NAME_CONSTRAINTS = b"\x06\x03\x55\x1d\x1e"  # 2.5.29.30
_EXTENDED_USAGES = b"\x06\x03\x55\x1d\x25"  # 2.5.29.37
_FOR_SERVERS, _FOR_CLIENTS = (b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03" + last for last in (b"\x01", b"\x02"))


def check_authority(
    certificate: str,
    private_key: str | None,
    validity_hours: int,
    now: float | None = None,
    key: str = "authority",
    *,
    issues: bool = True,
    private_key_name: str = "private_key",
) -> list[Problem]:
    """Why this CA cannot issue the cluster's certificates; empty when it can. No message contains the key.

    Args:
        certificate: exactly one certificate, PEM.
        private_key: its private key, PEM, without a passphrase; None: not given, the CA is only trusted.
        validity_hours: lifetime of issued certificates, in hours.
        now: seconds since the epoch. Default: the clock.
        key: the config key of the CA; problems have `<key>.certificate` or `<key>.<private_key_name>`.
        issues: False: the CA is only trusted, and its dates are not checked, because an expiring CA must remain
            replaceable.
        private_key_name: the user's spelling of the field.
    """
    at = f"{key}.certificate"
    blocks = _CERTIFICATE.findall(certificate)
    try:
        if len(blocks) != 1:
            raise ValueError(f"{len(blocks)} certificates")
        der = base64.b64decode("".join(blocks[0].split()), validate=True)
        authorities = _authorities(der)
    except (ValueError, OSError):
        rule = "It must be exactly one X.509 certificate in PEM format"
        given = "a text that is not one" if len(blocks) < 2 else f"{len(blocks)} certificates"
        return [Problem(at, given, rule, "Set one block from BEGIN CERTIFICATE to END CERTIFICATE")]
    problems = [] if private_key is None else _check_key(certificate, private_key, f"{key}.{private_key_name}")
    if not authorities or not _IS_AUTHORITY.search(der):
        rule = (
            "A CA certificate must be allowed to sign others: basicConstraints CA:TRUE, and certificate signing if it "
            "has key usages"
        )
        remedy = "Set the certificate of the CA, not one that it issued"
        return [Problem(at, "a certificate that cannot", rule, remedy), *problems]
    if authorities[0]["issuer"] != authorities[0]["subject"]:
        # Python on the machines, unlike etcd, needs the whole chain, and only one certificate can be given.
        rule = "The CA must be a root, with a self-signed certificate"
        remedy = "Create a root CA for etcd only; nothing else needs to trust it"
        return [Problem(at, "a certificate that another CA issued", rule, remedy), *problems]
    if not issues:
        return problems
    problems += _check_limits(der, at)
    return _check_dates(authorities[0], validity_hours, time.time() if now is None else now, at) + problems


def check_different(certificates: Mapping[str, str]) -> list[Problem]:
    """Why these certificates cannot be trusted together; empty when they can.

    Args:
        certificates: the key of each, like `authorities[1].certificate` -> PEM; sound ones.
    """
    problems = []
    seen: dict[bytes, str] = {}
    subjects: dict[str, tuple[str, bool]] = {}
    for at, pem in certificates.items():
        blocks = _CERTIFICATE.findall(pem)
        der = base64.b64decode("".join(blocks[0].split())) if blocks else pem.encode()
        first = seen.setdefault(der, at)
        if first != at:
            rule = f"Every CA must have its own certificate; this is the one of {first}"
            problems.append(Problem(at, "the same certificate", rule, "Remove one of the two from authorities"))
            continue
        subject = _subject(_authorities(der)[0]) if blocks else pem
        first, told_apart = subjects.setdefault(subject, (at, _KEY_ID in der))
        if first != at and not (told_apart and _KEY_ID in der):
            rule = f"CAs must differ in their subject or subject key identifier; {first} has the same"
            problems.append(Problem(at, subject, rule, "Create the new CA with another subject"))
    return problems


def _subject(certificate: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for part in certificate["subject"] for name, value in part)


def _authorities(der: bytes) -> list[dict[str, Any]]:
    """The decoded certificate if it is a CA's, else nothing. Raises OSError when it is not a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=der)
    return list(context.get_ca_certs())


def _check_limits(der: bytes, at: str) -> list[Problem]:
    """Members are servers and clients of each other, with IP addresses and short host names in their certificates."""
    if _NAME_CONSTRAINTS in der:
        given = "a certificate with name constraints"
        rule = "The CA must be allowed to issue for any address and name"
    elif _EXTENDED_USAGES in der and not (_FOR_SERVERS in der and _FOR_CLIENTS in der):
        given = "a certificate with extended key usages"
        rule = "A CA with extended key usages must have both: servers (serverAuth) and clients (clientAuth)"
    else:
        return []
    remedy = "Create a root CA for etcd only, without such limits"
    return [Problem(at, given, rule, remedy)]


def _check_dates(certificate: Mapping[str, Any], validity_hours: int, now: float, at: str) -> list[Problem]:
    start, end = (ssl.cert_time_to_seconds(certificate[field]) for field in ("notBefore", "notAfter"))
    subject = _subject(certificate)
    given = f"the certificate of {subject or 'nobody'}, valid from {_date(start)} to {_date(end)}"
    if start > now:
        rule = "The CA certificate must be valid already"
        return [Problem(at, given, rule, "Check the clock of this computer, or wait")]
    if end <= now:
        return [Problem(at, given, "The CA certificate must not have expired", "Set one that is still valid")]
    hours = int(end - now) // _HOUR
    if hours < validity_hours:
        rule = (
            f"The CA must outlive its certificates: they are valid for {validity_hours} hours, the CA for {hours} more"
        )
        return [Problem(at, given, rule, f"Set one that is valid longer, or issue for at most {hours} hours")]
    return []


def _check_key(certificate: str, private_key: str, at: str) -> list[Problem]:
    unusable = "The private key must be in PEM format, without a passphrase, and strong enough for this OpenSSL"
    rule, remedy = unusable, "Convert it with: openssl pkey -in KEY"

    def no_passphrase() -> str:
        # Without this, OpenSSL would ask on the terminal.
        raise ValueError

    try:
        with _readable_by_nobody_else(f"{private_key.strip()}\n{certificate.strip()}\n") as path:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=no_passphrase)
    except ValueError:
        remedy = "Remove the passphrase with: openssl pkey -in KEY"
    except ssl.SSLError as error:
        # The reason is one of OpenSSL's fixed names, never part of the input. The last one: no certificate has this
        # kind of key.
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            rule, remedy = "The private key must belong to the certificate", "Set a pair with the same public key"
        elif error.reason:
            rule = f"{unusable} ({error.reason})"
    else:
        return []
    return [Problem(at, "a private key (not shown)", rule, remedy)]


@contextmanager
def _readable_by_nobody_else(text: str) -> Iterator[str]:
    """Path of a temporary file with the text, readable only by this user; in memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("authority")
        path = f"/proc/self/fd/{descriptor}"
        remove = False
    else:
        descriptor, path = tempfile.mkstemp()
        remove = True
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            yield path
    finally:
        if remove:
            Path(path).unlink()


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
