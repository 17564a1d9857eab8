"""Checks of what an ssh connection is made with, before one is tried."""

import base64
import ipaddress
import os
import re
import stat
from pathlib import Path

from components.plan.errors import Problem, shown

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----(.*?)-----END \1PRIVATE KEY-----", re.DOTALL)
_HOST_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,3})(?: [^\r\n]*)?", re.ASCII
)
_UNUSABLE = "An ssh key is a private key in PEM or OpenSSH format, without a passphrase"


def is_host(text: str) -> bool:
    """Whether ssh can dial this: a name or an IP address."""
    if ":" in text:
        try:
            return bool(ipaddress.ip_address(text))
        except ValueError:
            return False
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text, re.ASCII) is not None


def check_private_key(text: str, key: str) -> list[Problem]:
    """Why ssh cannot use this private key; empty when it can. The message holds none of it."""
    block = _BLOCK.search(text)
    if block is None:
        remedy = (
            "Give the file without .pub"
            if text.startswith(("ssh-", "ecdsa-"))
            else "Make one with: ssh-keygen -t ed25519"
        )
        return [Problem(key, "a text that is none", _UNUSABLE, remedy)]
    if _has_passphrase(block[1], block[2]):
        remedy = "Make one for this purpose, or remove the passphrase of a copy with: ssh-keygen -p -f COPY"
        return [Problem(key, "a private key with a passphrase (not shown)", _UNUSABLE, remedy)]
    return []


def _has_passphrase(kind: str, body: str) -> bool:
    if kind.startswith("ENCRYPTED") or "Proc-Type: 4,ENCRYPTED" in body:
        return True
    if not kind.startswith("OPENSSH"):
        return False
    try:
        decoded = base64.b64decode("".join(body.split()))
    except ValueError:
        return False
    # The cipher's name follows the magic: a length of four bytes and, without a passphrase, `none`.
    magic = b"openssh-key-v1\0"
    return decoded.startswith(magic) and decoded[len(magic) : len(magic) + 8] != b"\0\0\0\4none"


def public_key(private_key: str) -> str | None:
    """The public half, one line, of a private key in OpenSSH format; None for other formats.

    There it stands in the clear: a magic, three texts about encryption, the number of keys, the public key.
    """
    block = _BLOCK.search(private_key)
    if block is None or not block[1].startswith("OPENSSH"):
        return None
    try:
        rest = base64.b64decode("".join(block[2].split())).removeprefix(b"openssh-key-v1\0")
        for _ in range(3):
            _, rest = _field(rest)
        blob, _ = _field(rest[4:])
        kind, _ = _field(blob)
        return f"{kind.decode('ascii')} {base64.b64encode(blob).decode()}"
    except ValueError:
        return None


def _field(data: bytes) -> tuple[bytes, bytes]:
    """The first text, which follows its length in four bytes, and what comes after it."""
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < end:
        raise ValueError
    return data[4:end], data[end:]


def read_private_key(path: Path, given: str, key: str) -> tuple[str, list[Problem]]:
    """The private key in a file, and why it cannot be used; the text is empty when there is a problem.

    Args:
        path: the file.
        given: the path as the user wrote it.
        key: the config key that names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        remedy = "Correct the path, or make the key with: ssh-keygen -t ed25519 -f FILE"
        return "", [Problem(key, shown(given), f"The file with the private key can be read: {reason}", remedy)]
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        rule = f"A private key is readable by its owner alone; this file has mode {stat.S_IMODE(mode):04o}"
        return "", [Problem(key, shown(given), rule, f"Run: chmod 600 {given}")]
    problems = [
        Problem(key, f"{shown(given)}, {each.value}", each.rule, each.remedy) for each in check_private_key(text, key)
    ]
    return ("" if problems else text), problems


def check_host_key(text: str, key: str) -> list[Problem]:
    """Why this is no public host key; empty when it is one."""
    match = _HOST_KEY.fullmatch(text.strip())
    if match is not None:
        try:
            decoded = base64.b64decode(match[2], validate=True)
        except ValueError:
            decoded = b""
        name = match[1].encode()
        if decoded.startswith(len(name).to_bytes(4, "big") + name):
            return []
    rule = "A host key is one line: its type and its base64, like ssh-ed25519 AAAA..."
    remedy = "Copy it from /etc/ssh/ssh_host_ed25519_key.pub on the machine"
    if _HOST_KEY.search(text) and match is None:
        remedy = "Leave out what stands before the type"
    return [Problem(key, shown(text), rule, remedy)]
