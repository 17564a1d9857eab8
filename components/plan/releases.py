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
