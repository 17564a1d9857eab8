"""Where the archives of etcd's releases come from."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from .errors import Problem, did_you_mean, shown

DEFAULT_MIRROR = "https://github.com/etcd-io/etcd/releases/download"
ARCHITECTURES = ("amd64", "arm64")


def check_mirror(mirror: object, key: str = "release_mirror") -> list[Problem]:
    """Why no archive can be downloaded from there; empty when one can."""
    rule = "A mirror is an https:// or http:// address without credentials, query or fragment"
    remedy = f"Write it like {DEFAULT_MIRROR}; below it lies v3.6.16/etcd-v3.6.16-linux-amd64.tar.gz"
    if not isinstance(mirror, str):
        return [Problem(key, shown(mirror), rule, remedy)]
    try:
        parts = urlsplit(mirror)
        sound = parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return [Problem(key, "a text that is no address", rule, remedy)]
    if "@" in parts.netloc:
        # What stands before the @ may be a password.
        return [Problem(key, "an address with credentials", rule, remedy)]
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
    """Why nothing can be downloaded through this proxy; empty when it can. None: there is none."""
    if proxy is None:
        return []
    rule = "A proxy is an http:// address with its port, without credentials and path"
    remedy = "Write it like http://proxy.example.com:3128; credentials go to releaseHeaders, as Proxy-Authorization"
    if isinstance(proxy, str) and "@" in proxy:
        return [Problem(key, "an address with credentials", rule, remedy)]
    host = r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)"
    if isinstance(proxy, str) and re.fullmatch(rf"http://{host}:[1-9]\d{{0,4}}", proxy, re.ASCII):
        return []
    return [Problem(key, shown(proxy), rule, remedy)]


def check_headers(headers: Mapping[str, object], key: str = "release_headers") -> list[Problem]:
    """Why these are no headers for a mirror; empty when they are. Values are never shown, and may not be known yet."""
    problems = []
    for name, value in headers.items():
        at, hidden = f"{key}.{name}", "a value (not shown)"
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", name, re.ASCII):
            rule = "The name of a header has letters, digits and -"
            problems.append(Problem(at, shown(name), rule, "Write it like Authorization"))
        elif name.lower() in ("host", "content-length", "transfer-encoding", "connection"):
            problems.append(Problem(at, shown(name), "This header is part of HTTP itself", "Remove it"))
        elif isinstance(value, str) and not re.fullmatch(r"[!-~]([ -~]{0,8000}[!-~])?", value, re.ASCII):
            rule = "The value of a header is one line of ASCII, at most 8000 characters"
            problems.append(Problem(at, hidden, rule, "Look for a line break at its end"))
    if len(headers) > 5:
        problems.append(Problem(key, f"{len(headers)} headers", "There are at most 5", "Remove some"))
    return problems


def check_sha256(digests: Mapping[str, object], key: str = "release_sha256") -> list[Problem]:
    """Why these are no checksums of archives; empty when they are."""
    problems = []
    for architecture, digest in digests.items():
        if architecture not in ARCHITECTURES:
            rule = f"Archives are for the architectures {' and '.join(ARCHITECTURES)}"
            remedy = did_you_mean(str(architecture), ARCHITECTURES) or "Remove it"
            problems.append(Problem(f"{key}.{architecture}", shown(digest), rule, remedy))
        elif not isinstance(digest, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            rule = "A SHA-256 is 64 hexadecimal digits"
            remedy = "Copy it from the release's SHA256SUMS, or leave it out to use that file"
            problems.append(Problem(f"{key}.{architecture}", shown(digest), rule, remedy))
    return problems
