"""Checks of the source of etcd's releases: mirror, proxy, headers, checksums."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from .errors import Problem, did_you_mean, shown

DEFAULT_MIRROR = "https://github.com/etcd-io/etcd/releases/download"
ARCHITECTURES = ("amd64", "arm64")


def check_mirror(mirror: object, key: str = "release_mirror") -> list[Problem]:
    """Why archives cannot be downloaded from there; empty when they can."""
    rule = "A mirror must be an https:// or http:// URL without credentials, query or fragment"
    remedy = f"Write it like {DEFAULT_MIRROR}; below it must be v3.6.16/etcd-v3.6.16-linux-amd64.tar.gz"
    if not isinstance(mirror, str):
        return [Problem(key, shown(mirror), rule, remedy)]
    try:
        parts = urlsplit(mirror)
        sound = parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return [Problem(key, "a text that is not a URL", rule, remedy)]
    if "@" in parts.netloc:
        # The part before the @ may be a password.
        return [Problem(key, "a URL with credentials", rule, remedy)]
    if (
        sound
        and not parts.query
        and not parts.fragment
        and re.fullmatch(r"[!-~]+", mirror)
        and not set(mirror) & set("'\"\\")
    ):
        return []
    return [Problem(key, shown(mirror), rule, remedy)]


def check_proxy(proxy: object, key: str = "release_proxy") -> list[Problem]:
    """Why archives cannot be downloaded through this proxy; empty when they can, and for None."""
    if proxy is None:
        return []
    rule = "A proxy must be an http:// URL with a port, without credentials and path"
    remedy = "Write it like http://proxy.example.com:3128; set credentials in releaseHeaders, as Proxy-Authorization"
    if isinstance(proxy, str) and "@" in proxy:
        return [Problem(key, "a URL with credentials", rule, remedy)]
    host = r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)"
    if isinstance(proxy, str) and re.fullmatch(rf"http://{host}:[1-9]\d{{0,4}}", proxy, re.ASCII):
        return []
    return [Problem(key, shown(proxy), rule, remedy)]


def check_headers(headers: Mapping[str, object], key: str = "release_headers") -> list[Problem]:
    """Why these cannot be headers for a mirror; empty when they can. Values are never shown and may be unknown."""
    problems = []
    for name, value in headers.items():
        at, hidden = f"{key}.{name}", "a value (not shown)"
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", name, re.ASCII):
            rule = "The name of a header can have letters, digits and -"
            problems.append(Problem(at, shown(name), rule, "Write it like Authorization"))
        elif name.lower() in ("host", "content-length", "transfer-encoding", "connection"):
            problems.append(
                Problem(at, shown(name), "This header belongs to HTTP itself and cannot be set", "Remove it")
            )
        elif isinstance(value, str) and not re.fullmatch(r"[!-~]([ -~]{0,8000}[!-~])?", value, re.ASCII):
            rule = "The value of a header must be one line of ASCII with at most 8000 characters"
            problems.append(Problem(at, hidden, rule, "Check for a line break at its end"))
    if len(headers) > 5:
        problems.append(Problem(key, f"{len(headers)} headers", "There can be at most 5 headers", "Remove some"))
    return problems


def check_sha256(digests: Mapping[str, object], key: str = "release_sha256") -> list[Problem]:
    """Why these cannot be checksums of archives; empty when they can."""
    problems = []
    for architecture, digest in digests.items():
        if architecture not in ARCHITECTURES:
            rule = f"The architecture must be {' or '.join(ARCHITECTURES)}"
            remedy = did_you_mean(str(architecture), ARCHITECTURES) or "Remove it"
            problems.append(Problem(f"{key}.{architecture}", shown(digest), rule, remedy))
        elif not isinstance(digest, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            rule = "A SHA-256 must have 64 hexadecimal digits"
            remedy = "Copy it from the release's SHA256SUMS, or remove it to use that file"
            problems.append(Problem(f"{key}.{architecture}", shown(digest), rule, remedy))
    return problems
