"""Fingerprints and validity of certificates."""

from __future__ import annotations

import datetime
import hashlib
import re
import ssl

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME = 0x17


def der_of(pem: str) -> list[bytes]:
    """Every certificate in the text, in DER."""
    return [ssl.PEM_cert_to_DER_cert(block) for block in _BLOCK.findall(pem)]


def fingerprints(pem: str) -> list[str]:
    """SHA-256 of every certificate in the text, 64 hex digits each, sorted."""
    return sorted(fingerprint(der) for der in der_of(pem))


def fingerprint(der: bytes) -> str:
    """SHA-256 of the certificate, 64 hex digits."""
    return hashlib.sha256(der).hexdigest()


def expires(der: bytes) -> datetime.datetime:
    """When the certificate expires, in UTC. Raises ValueError like `validity`."""
    return validity(der)[1]


def validity(der: bytes) -> tuple[datetime.datetime, datetime.datetime]:
    """Start and end of the certificate's validity, in UTC.

    The standard library cannot read it from a file, and openssl is not on every machine. The path to the field (RFC
    5280, 4.1) is short.

    Raises:
        ValueError: it is not a certificate.
    """
    body = _content(_content(der, 0), 0)
    position = 0
    if body[:1] == b"\xa0":  # the version, which is optional
        position = _end(body, position)
    for _ in ("serialNumber", "signature", "issuer"):
        position = _end(body, position)
    dates = _content(body, position)
    return _time(dates, 0), _time(dates, _end(dates, 0))


def _time(data: bytes, at: int) -> datetime.datetime:
    text = _content(data, at).decode("ascii")
    if data[at] == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at this position begins and ends."""
    if at + 2 > len(data):
        raise ValueError("not a certificate")
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
    if begin + length > len(data):
        raise ValueError("not a certificate")
    return begin, begin + length


def _content(data: bytes, at: int) -> bytes:
    begin, end = _bounds(data, at)
    return data[begin:end]


def _end(data: bytes, at: int) -> int:
    return _bounds(data, at)[1]
