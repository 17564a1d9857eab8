"""An S3 server for the lab's machines, versitygw, behind a relay that can misbehave."""

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.backups import ensure_versitygw

KEY, SECRET, BUCKET = "lab-access-key", "lab-secret-access-key", "etcd"
_MAGIC = b"age-encryption.org"


class S3Server:
    """A store with one bucket.

    Args:
        directory: for its objects; they are files below `objects/etcd`.
        address: the relay's, of this computer on the lab's bridge.
        accounts: access key -> secret of more accounts, which a bucket's policy can allow something. With them, the
            store has versions and object lock, and no bucket at first. Default: none.
    """

    held: threading.Event
    """Set when the relay holds an upload back."""

    def __init__(self, directory: Path, address: str, accounts: Mapping[str, str] | None = None) -> None:
        self._directory, self._accounts = directory, accounts or {}
        self.bucket = directory / "objects" / BUCKET
        self._metadata = directory / "metadata"
        for folder in (self.bucket.parent if self._accounts else self.bucket, self._metadata):
            folder.mkdir(parents=True)
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.held = threading.Event()
        self._holds = self._flips = False
        self._listener = socket.create_server((address, 0))
        self.endpoint = "http://{}:{}".format(*self._listener.getsockname())
        threading.Thread(target=self._relay, daemon=True).start()

    def start(self, secret: str = SECRET) -> None:
        """Start the server anew, with another secret if one is given."""
        self.stop()
        words = ["--access", KEY, "--secret", secret, "--port", f"127.0.0.1:{self._port}", *self._known()]
        # Beside the objects and not in attributes of files, which not every file system has.
        words += ["posix", "--sidecar", str(self._metadata)]
        if self._accounts:
            words += ["--versioning-dir", str(self._directory / "versions")]
        with (self._directory / "versitygw.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(ensure_versitygw()), *words, str(self.bucket.parent)], stdout=log, stderr=log
            )
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return
            time.sleep(0.05)
        raise AssertionError((self._directory / "versitygw.log").read_text())

    def stop(self) -> None:
        """Stop the server; the relay then refuses every connection by closing it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def close(self) -> None:
        """Stop both."""
        self.stop()
        self._listener.close()

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Meanwhile no upload goes on."""
        self.held.clear()
        self._holds = True
        try:
            yield
        finally:
            self._holds = False

    @contextlib.contextmanager
    def flipping(self) -> Iterator[None]:
        """Meanwhile what is read has another byte than what was written."""
        self._flips = True
        try:
            yield
        finally:
            self._flips = False

    def names(self, prefix: str) -> list[str]:
        """Names of the objects below a prefix."""
        folder = self.bucket / prefix
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def client(self) -> Any:
        """A boto3 client of the owner."""
        import boto3  # noqa: PLC0415 - takes long, and few need it

        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
        return boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self._port}", **keys)

    def _known(self) -> list[str]:
        if not self._accounts:
            return []
        accounts = self._directory / "accounts"
        for folder in (accounts, self._directory / "versions"):
            folder.mkdir(exist_ok=True)
        user = {"role": "user", "userID": 0, "groupID": 0, "projectID": 0}
        rows = {key: {"access": key, "secret": secret, **user} for key, secret in self._accounts.items()}
        (accounts / "users.json").write_text(json.dumps({"accessAccounts": rows}))
        return ["--iam-dir", str(accounts)]

    def _relay(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._port), 5)
            except OSError:
                client.close()
                continue
            for source, target, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(source, target, up), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if up and data.startswith(b"PUT") and self._holds:
                    self.held.set()
                    while self._holds:
                        time.sleep(0.05)
                if not up and self._flips and _MAGIC in data:
                    data = data.replace(_MAGIC, _MAGIC.upper())
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
