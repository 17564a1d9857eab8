"""How ssh reaches a host, as far as it can be checked before a connection is tried."""

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import Problem, shown

_HOST_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,3})(?: [^\r\n]*)?", re.ASCII
)


def check_way(way: Mapping[str, Any], at: str, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Why ssh cannot use these settings of a host, and of its bastion; empty if it can. What is not known yet is left.

    Args:
        way: `host`, `user`, `port`, `host_key` and `bastion`, as far as they are given.
        at: the key of these settings.
        spelled: the user's spelling of their names.
    """
    problems = []
    host, user, port, host_key = (way.get(spelled(name)) for name in ("host", "user", "port", "host_key"))
    if isinstance(host, str) and not is_host(host):
        rule = "A host must be a name or an IP address, without port or brackets"
        problems.append(Problem(f"{at}.host", shown(host), rule, "Set the port with the key port"))
    if isinstance(user, str) and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", user, re.ASCII):
        rule, remedy = "A login must be a user's name", "Set root, or a user with sudo"
        problems.append(Problem(f"{at}.user", shown(user), rule, remedy))
    if port is not None and not 1 <= port <= 65535:
        problems.append(Problem(f"{at}.port", shown(port), "A TCP port must be 1 to 65535", "Leave it out for 22"))
    if isinstance(host_key, str):
        problems += check_host_key(host_key, f"{at}.{spelled('host_key')}")
    return problems + (check_way(way["bastion"], f"{at}.bastion", spelled) if "bastion" in way else [])


def is_host(text: str) -> bool:
    """Whether this is a host for ssh: a name or an IP address."""
    if ":" in text:
        try:
            return bool(ipaddress.ip_address(text))
        except ValueError:
            return False
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text, re.ASCII) is not None


def _check_offered(kind: str, text: str, key: str) -> list[Problem]:
    """Why pulumi-command cannot use this host key: it requests exactly the type of the given key."""
    if kind != "ssh-rsa":
        return []
    rule = "An RSA host key cannot be used: pulumi-command does not request rsa-sha2-512 or rsa-sha2-256 signatures"
    remedy = "Use the Ed25519 key, from its type on, of: ssh-keyscan -t ed25519 HOST"
    return [Problem(key, shown(text), rule, remedy)]


def check_public_key(text: str, key: str) -> list[Problem]:
    """Why this is not a public key of a login, one line; empty if it is one."""
    if re.fullmatch(r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}(?: [^\r\n]*)?", text.strip()):
        return []
    rule = "A public key must be one line: its type and its base64, like ssh-ed25519 AAAA..."
    return [Problem(key, shown(text), rule, "Copy it from the file with .pub, or from: ssh-add -L")]


def check_host_key(text: str, key: str) -> list[Problem]:
    """Why this is not a public host key; empty if it is one."""
    match = _HOST_KEY.fullmatch(text.strip())
    if match is not None:
        try:
            decoded = base64.b64decode(match[2], validate=True)
        except ValueError:
            decoded = b""
        name = match[1].encode()
        if decoded.startswith(len(name).to_bytes(4, "big") + name):
            return _check_offered(match[1], text, key)
    rule = "A host key must be one line: its type and its base64, like ssh-ed25519 AAAA..."
    remedy = "Copy it from /etc/ssh/ssh_host_ed25519_key.pub on the machine"
    if _HOST_KEY.search(text) and match is None:
        remedy = "Remove the text before the type"
    return [Problem(key, shown(text), rule, remedy)]
