"""What a property of the Hetzner Cloud may be: each rule tells what is wrong with a value, or None."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from ..schema import Failure


def no_range(text: str) -> str | None:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"expected a valid CIDR value, got {text!r}"
    return None if "/" in text else f"{text!r} has no length: write {text}/32 for one address"


def no_source(text: str) -> str | None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return f"invalid CIDR address: {text}"
        return f"{text} is not the start of the cidr block {network}"
    return None


def no_address(text: str) -> str | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return f"{text!r} is not an IP address"
    return None


def no_subnet(text: str) -> str | None:
    network, _, ip_range = text.partition("-")
    if network.isdigit() and no_range(ip_range) is None:
        return None
    return f"unexpected subnet id {text!r}, expected '$NETWORK_ID-$SUBNET_IP_RANGE'"


def unserved(value: Any) -> str | None:
    return "this stand-in does not serve this property: use the official plugin for it" if value else None


def gone(value: Any) -> str | None:
    return "the API no longer takes data centers (since July 2026): give the location instead" if value else None


def empty(text: str) -> str | None:
    return None if text else "must have more than 0 characters"


_LABEL = re.compile(r"[a-z0-9A-Z]([-_.a-z0-9A-Z]{0,61}[a-z0-9A-Z])?")
_LABEL_PREFIX = re.compile(r"[a-z0-9A-Z]([-_.a-z0-9A-Z]{0,251}[a-z0-9A-Z])?")


def label_failures(labels: Any) -> list[Failure]:
    failures = []
    for key, value in labels.items() if isinstance(labels, dict) else ():
        prefix, slash, name = key.rpartition("/")
        if not _LABEL.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)) or prefix == "hetzner.cloud":
            failures.append(Failure(f"labels.{key}", f"label key {key!r} is not correctly formatted"))
        if isinstance(value, str) and value and not _LABEL.fullmatch(value):
            failures.append(Failure(f"labels.{key}", f"label value {value!r} is not correctly formatted"))
    return failures
