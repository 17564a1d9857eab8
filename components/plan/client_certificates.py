"""Which client certificates the members accept: the present ones, and earlier ones that clients may still have."""

from collections.abc import Container, Mapping
from datetime import UTC, datetime
from typing import Any


def remembered(
    before: Mapping[str, Any], expiry: Mapping[str, str], issuer: str, trusted: Container[str], now: datetime
) -> dict[str, list[dict[str, str]]]:
    """Client certificate -> `expires` (UTC) and `issuer` of each that was issued and is accepted, latest first.

    The result changes only if a certificate is issued or a CA is dropped, and not because time passes.

    Args:
        before: the result of the last update; empty: not known.
        expiry: client certificate -> when the present one expires, RFC 3339.
        issuer: name of the CA that issues them.
        trusted: names of the CAs whose certificates the members accept.
        now: the present time; what has expired is forgotten when another certificate is issued.
    """
    found = {}
    for name, end in expiry.items():
        present = {"expires": _text(datetime.fromisoformat(end)), "issuer": issuer}
        issued = [dict(each) for each in before.get(name, ()) if each["issuer"] in trusted]
        if issued[:1] != [present]:
            issued = [present, *(each for each in issued if each["expires"] > _text(now))]
        found[name] = issued
    return found


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
