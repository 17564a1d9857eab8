"""A secrets provider for the engine in tests, so that its runs do not compute a key from a passphrase.

The CLI derives that key at every start, by a million rounds of SHA-256. A key from HashiCorp Vault costs one request.
This is the part of Vault's transit engine that the CLI calls. It keeps nothing secret: what it "encrypts" is unchanged.
"""

import base64
import functools
import http.server
import json
import threading
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PROVIDER = "hashivault://tests"
"""For `pulumi stack init --secrets-provider`."""
_SEALED = "vault:v1:"
_SIGNATURE, _SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


class _Transit(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Answer `/v1/transit/encrypt/KEY` and `/v1/transit/decrypt/KEY`."""
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        encrypt = "/transit/encrypt/" in self.path
        data = {"ciphertext": _SEALED + given["plaintext"]} if encrypt else {"plaintext": _open(given["ciphertext"])}
        body = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@functools.cache
def environment() -> dict[str, str]:
    """What the CLI needs to find this process's Vault, which this call starts."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Transit)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return {"VAULT_ADDR": f"http://127.0.0.1:{server.server_port}", "VAULT_TOKEN": "tests"}


def outputs(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The stack's outputs in a checkpoint whose secrets are encrypted with `PROVIDER`, in plain text."""
    sealed = base64.b64decode(checkpoint["secrets_providers"]["state"]["encryptedkey"]).decode()
    cipher = AESGCM(base64.b64decode(_open(sealed)))
    stacks = [each for each in checkpoint.get("resources", []) if each["type"] == "pulumi:pulumi:Stack"]
    return {name: _plain(value, cipher) for each in stacks for name, value in each.get("outputs", {}).items()}


def _open(sealed: str) -> str:
    return sealed.removeprefix(_SEALED)


def _plain(value: Any, cipher: AESGCM) -> Any:
    if isinstance(value, list):
        return [_plain(each, cipher) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get(_SIGNATURE) == _SECRET:
        if "plaintext" in value:
            return _plain(json.loads(value["plaintext"]), cipher)
        _, nonce, text = value["ciphertext"].split(":")
        return _plain(json.loads(cipher.decrypt(base64.b64decode(nonce), base64.b64decode(text), None)), cipher)
    return {name: _plain(each, cipher) for name, each in value.items()}
