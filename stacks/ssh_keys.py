"""Checks of private ssh keys, before a connection is tried."""

import base64
import os
import re
import stat
from pathlib import Path

from components.plan.errors import Problem, shown

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----(.*?)-----END \1PRIVATE KEY-----", re.DOTALL)
_UNUSABLE = "An ssh key must be a private key in PEM or OpenSSH format"
_AGENT = "load it into an ssh agent (ssh-add) and set agent: true instead"
_MAGIC = b"openssh-key-v1\0"
# The ciphers of the OpenSSH format that pulumi-command can decrypt.
_CIPHERS = ("aes256-ctr", "aes256-cbc")


def check_private_key(text: str, key: str, passphrase: str = "") -> list[Problem]:
    """Why ssh cannot use this private key; empty if it can. Messages contain no part of it.

    Args:
        text: the private key.
        key: the configuration key that contains or names it.
        passphrase: its passphrase; ignored if it has none.
    """
    block = _BLOCK.search(text)
    if block is None:
        remedy = (
            "Give the file without .pub"
            if text.startswith(("ssh-", "ecdsa-"))
            else "Create one with: ssh-keygen -t ed25519"
        )
        return [Problem(key, "a text that is no private key", _UNUSABLE, remedy)]
    if (public_key(text) or "").startswith("sk-"):
        rule = "A key on a security key (FIDO) must be used through an ssh agent: the file contains only its handle"
        return [Problem(key, "a FIDO key", rule, _AGENT.capitalize())]
    return _check_encryption(text, block[1], key, passphrase)


def _check_encryption(text: str, kind: str, key: str, passphrase: str) -> list[Problem]:
    given = "a private key with a passphrase (not shown)"
    if kind.startswith("ENCRYPTED"):
        rule = "A key with a passphrase must be in OpenSSH format: pulumi-command decrypts no other"
        return [Problem(key, given, rule, "Convert a copy with: ssh-keygen -p -f COPY")]
    if not has_passphrase(text):
        return []
    if not passphrase:
        remedy = f"Set privateKeyPassphrase beside it (a secret), or {_AGENT}"
        return [Problem(key, given, "A key with a passphrase needs privateKeyPassphrase or an ssh agent", remedy)]
    cipher = _cipher(text)
    if cipher is not None and cipher not in _CIPHERS:
        rule = f"pulumi-command decrypts {' and '.join(_CIPHERS)}, not {cipher}"
        return [Problem(key, given, rule, "Encrypt a copy again with: ssh-keygen -p -Z aes256-ctr -f COPY")]
    return []


def has_passphrase(private_key: str) -> bool:
    """Whether the private key is encrypted."""
    block = _BLOCK.search(private_key)
    if block is None:
        return False
    return "Proc-Type: 4,ENCRYPTED" in block[2] or _cipher(private_key) not in (None, "none")


def _cipher(private_key: str) -> str | None:
    """Cipher of a private key in OpenSSH format, `none` if it is not encrypted; None for other formats."""
    decoded = _decoded(private_key)
    if decoded is None:
        return None
    try:
        return _field(decoded)[0].decode("ascii")
    except ValueError:
        return None


def _decoded(private_key: str) -> bytes | None:
    """The bytes after the magic of a private key in OpenSSH format; None for other formats."""
    block = _BLOCK.search(private_key)
    if block is None or not block[1].startswith("OPENSSH"):
        return None
    try:
        decoded = base64.b64decode("".join(block[2].split()))
    except ValueError:
        return None
    return decoded.removeprefix(_MAGIC) if decoded.startswith(_MAGIC) else None


def public_key(private_key: str) -> str | None:
    """The public half, one line, of a private key in OpenSSH format; None for other formats.

    It is not encrypted: magic, three strings about the encryption, the number of keys, the public key.
    """
    rest = _decoded(private_key)
    if rest is None:
        return None
    try:
        for _ in range(3):
            _, rest = _field(rest)
        blob, _ = _field(rest[4:])
        kind, _ = _field(blob)
        return f"{kind.decode('ascii')} {base64.b64encode(blob).decode()}"
    except ValueError:
        return None


def _field(data: bytes) -> tuple[bytes, bytes]:
    """The first string, which follows its length in four bytes, and the rest."""
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < end:
        raise ValueError
    return data[4:end], data[end:]


def read_private_key(path: Path, given: str, key: str, passphrase: str = "") -> tuple[str, list[Problem]]:
    """The private key in a file, and its problems; the text is empty if there is a problem.

    Args:
        given: the path as the user wrote it.
        key: the configuration key that names it.
        passphrase: its passphrase; ignored if it has none.
    """
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not text"
        remedy = "Correct the path, or create the key with: ssh-keygen -t ed25519 -f FILE"
        return "", [Problem(key, shown(given), f"The file with the private key must be readable: {reason}", remedy)]
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        rule = f"Only its owner may read a private key; this file has mode {stat.S_IMODE(mode):04o}"
        return "", [Problem(key, shown(given), rule, f"Run: chmod 600 {given}")]
    problems = [
        Problem(key, f"{shown(given)}, {each.value}", each.rule, each.remedy)
        for each in check_private_key(text, key, passphrase)
    ]
    return ("" if problems else text), problems
