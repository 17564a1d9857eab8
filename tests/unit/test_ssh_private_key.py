"""An ssh key takes less room in the state, and stays the same key."""

import pytest
from cryptography.hazmat.primitives import serialization

from components.ssh_private_key import shortest
from tests.support.sshd import new_key


def test_an_ed25519_key_is_the_same_in_fewer_characters() -> None:
    for end in ("", "\n", "\r\n\n"):
        private, public = new_key()
        short = shortest(private.strip().replace("\n", end or "\n") + end)
        assert len(short) < len(private) / 3
        key = serialization.load_pem_private_key(short.encode(), None).public_key()
        assert key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode() == public


@pytest.mark.parametrize(
    "text",
    [
        new_key("ecdsa")[0],
        new_key(passphrase="secret")[0],
        new_key()[0].replace("OPENSSH", "RSA"),
        new_key()[0].replace("AAAA", "!!!!"),
        new_key()[0].replace("b3Bl", "b3Bm"),
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "PRIVATE KEY",
        "",
    ],
    ids=["another type", "a passphrase", "another format", "no base64", "another magic", "cut off", "no key", "empty"],
)
def test_any_other_key_stays_as_it_is(text: str) -> None:
    assert shortest(text) == text
