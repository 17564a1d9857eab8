"""Whether a certificate authority of the user's own can be trusted, and issue what a cluster needs.

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
# basicConstraints (2.5.29.19) with CA:TRUE in DER. OpenSSL also takes old certificates without it for authorities,
# etcd does not, and Python's ssl does not show it.
_IS_AUTHORITY = re.compile(rb"\x06\x03\x55\x1d\x13(\x01\x01\xff)?\x04.\x30.\x01\x01\xff", re.DOTALL)
_KEY_ID = b"\x06\x03\x55\x1d\x0e"  # subjectKeyIdentifier (2.5.29.14) in DER


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
    """Why this authority cannot issue the cluster's certificates; empty when it can. No message holds any of the key.

    Args:
        certificate: the CA certificate, PEM, exactly one.
        private_key: its private key, PEM, without a passphrase; None where it is only trusted, and not given.
        validity_hours: lifetime of the certificates to be issued, in hours.
        now: seconds since the epoch. Default: the clock.
        key: the config key of the authority; problems are at `<key>.certificate` and `<key>.<private_key_name>`.
        issues: it issues the certificates; else it is only trusted, and how long it lives is not asked: what it
            issued ends with it, and an authority that is about to end must be one that can be replaced.
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
        rule = "The authority is exactly one X.509 certificate in PEM format"
        given = "a text that is none" if len(blocks) < 2 else f"{len(blocks)} certificates"
        return [Problem(at, given, rule, "Give one block from BEGIN CERTIFICATE to END CERTIFICATE")]
    problems = [] if private_key is None else _check_key(certificate, private_key, f"{key}.{private_key_name}")
    if not authorities or not _IS_AUTHORITY.search(der):
        rule = (
            "The certificate may sign others: basicConstraints CA:TRUE, and certificate signing if it states key usages"
        )
        remedy = "Give the certificate of the authority, not one that it issued"
        return [Problem(at, "a certificate that may not", rule, remedy), *problems]
    if authorities[0]["issuer"] != authorities[0]["subject"]:
        # Python on the machines, unlike etcd, wants the whole chain, and a chain cannot be handed over.
        rule = "The authority is a root: its certificate was issued by itself"
        remedy = "Make a root for etcd alone; nobody else needs to trust it"
        return [Problem(at, "a certificate that another authority issued", rule, remedy), *problems]
    if not issues:
        return problems
    return _check_dates(authorities[0], validity_hours, time.time() if now is None else now, at) + problems


def check_different(certificates: Mapping[str, str], key: str = "authorities") -> list[Problem]:
    """Why these certificates cannot be trusted together; empty when they can.

    Args:
        certificates: the key of each, like `authorities[1].certificate` -> PEM; sound ones.
        key: the key of the list, for the problem.
    """
    problems = []
    seen: dict[bytes, str] = {}
    subjects: dict[str, tuple[str, bool]] = {}
    for at, pem in certificates.items():
        blocks = _CERTIFICATE.findall(pem)
        der = base64.b64decode("".join(blocks[0].split())) if blocks else pem.encode()
        first = seen.setdefault(der, at)
        if first != at:
            rule = f"Every authority has a certificate of its own; this is the one of {first}"
            problems.append(Problem(at, "the same certificate", rule, f"Take one of the two out of {key}"))
            continue
        subject = _subject(_authorities(der)[0]) if blocks else pem
        first, told_apart = subjects.setdefault(subject, (at, _KEY_ID in der))
        if first != at and not (told_apart and _KEY_ID in der):
            rule = f"Authorities are told apart by their subject or a subject key identifier; {first} has the same"
            problems.append(Problem(at, subject, rule, "Make the new one with another subject"))
    return problems


def _subject(certificate: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for part in certificate["subject"] for name, value in part)


def _authorities(der: bytes) -> list[dict[str, Any]]:
    """The certificate, decoded, when it is an authority, else nothing. Raises OSError when it is no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=der)
    return list(context.get_ca_certs())


def _check_dates(certificate: Mapping[str, Any], validity_hours: int, now: float, at: str) -> list[Problem]:
    start, end = (ssl.cert_time_to_seconds(certificate[field]) for field in ("notBefore", "notAfter"))
    subject = _subject(certificate)
    given = f"the certificate of {subject or 'nobody'}, valid from {_date(start)} to {_date(end)}"
    if start > now:
        return [
            Problem(
                at, given, "The authority's certificate is valid by now", "Check the clock of this computer, or wait"
            )
        ]
    if end <= now:
        return [Problem(at, given, "The authority's certificate has not expired", "Give one that is still valid")]
    hours = int(end - now) // _HOUR
    if hours < validity_hours:
        rule = f"The authority outlives what it issues: that is valid for {validity_hours} hours, it has {hours} left"
        return [Problem(at, given, rule, f"Give one that lives longer, or issue for at most {hours} hours")]
    return []


def _check_key(certificate: str, private_key: str, at: str) -> list[Problem]:
    unusable = "The private key is in PEM format, without a passphrase, and strong enough for OpenSSL here"
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
        # The reason is one of OpenSSL's fixed names, never part of the input.
        # The last one: there is no certificate for a key of this kind.
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            rule, remedy = "The private key belongs to the certificate", "Give the pair: both have the same public key"
        elif error.reason:
            rule = f"{unusable} ({error.reason})"
    else:
        return []
    return [Problem(at, "a private key (not shown)", rule, remedy)]


@contextmanager
def _readable_by_nobody_else(text: str) -> Iterator[str]:
    """Path of a file with the text, readable by this user alone, gone afterwards; in memory where the system can."""
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
