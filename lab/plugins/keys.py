"""The keys of an SSH connection: those a user logs in with, and the one a host is known by."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .server import ProviderError


class Key(paramiko.PKey):
    """A key pair for logging in: the public half as the protocol wants it, and something that signs."""

    def __init__(self, blob: bytes, sign: Callable[[bytes, str], bytes]) -> None:
        self._blob = blob
        self._name = paramiko.Message(blob).get_text()
        self._sign = sign

    def asbytes(self) -> bytes:
        return self._blob

    def get_name(self) -> str:
        return self._name

    def can_sign(self) -> bool:
        return True

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Any:
        return paramiko.Message(self._sign(data, algorithm or self._name))


def private_key(text: str, password: str | None) -> Key:
    data = text.encode()
    load = serialization.load_pem_private_key
    if b"-----BEGIN OPENSSH PRIVATE KEY-----" in data:
        load = serialization.load_ssh_private_key
    try:
        key = load(data, None if password is None else password.encode())
    except TypeError:
        # Said so by cryptography for a password too many and a password missing.
        given = "is not needed, and one was given" if password is not None else "is needed: set privateKeyPassword"
        raise ProviderError(f"ssh: this private key is protected otherwise: a password {given}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ProviderError(
            "ssh: no key found: privateKey is neither PEM nor OpenSSH, or its password is wrong"
        ) from None
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        raise ProviderError(f"ssh: unsupported key type {type(key).__name__}")
    ssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    blob = base64.b64decode(key.public_key().public_bytes(*ssh).split()[1])

    def sign(message: bytes, algorithm: str) -> bytes:
        signature = paramiko.Message()
        signature.add_string(algorithm)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            signature.add_string(key.sign(message))
        elif isinstance(key, rsa.RSAPrivateKey):
            kind = hashes.SHA512() if algorithm == "rsa-sha2-512" else hashes.SHA256()
            signature.add_string(key.sign(message, padding.PKCS1v15(), kind))
        else:
            by_size = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
            pair = paramiko.Message()
            for number in decode_dss_signature(key.sign(message, ec.ECDSA(by_size[key.key_size]))):
                pair.add_mpint(number)
            signature.add_string(pair.asbytes())
        return signature.asbytes()

    return Key(blob, sign)


def host_key(line: str) -> tuple[str, bytes]:
    """The type and the blob of a key in the format of authorized_keys."""
    words = line.split()
    for at, word in enumerate(words[:-1]):
        with contextlib.suppress(ValueError):
            blob = base64.b64decode(words[at + 1], validate=True)
            length = int.from_bytes(blob[:4], "big")
            if blob[4 : 4 + length] == word.encode():
                return word, blob
    raise ProviderError("failed to parse host key: ssh: no key found")
