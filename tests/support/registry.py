"""A registry of images for the lab's machines: the part of the distribution specification that a pull needs."""

import base64
import hashlib
import http.server
import json
import tarfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tools.base import architecture

from .web import served_by

_OCI = "application/vnd.oci.image"
_TOKEN = "a-token"


class Registry:
    """The images of etcd in archives, each behind an index for two architectures.

    Args:
        archives: as `docker save` writes them, with one layer per image.
        login: USER:PASSWORD that a client needs for a token; empty: it needs none.
    """

    def __init__(self, archives: Mapping[str, Path], login: str = "") -> None:
        self.login = login
        self.contents: dict[str, tuple[str, bytes]] = {}
        """Digest -> media type and content."""
        self.digests = {name: self._image(archive) for name, archive in archives.items()}
        """Name of an archive -> digests of its index, and of the image for this architecture alone."""
        self.asked: list[str] = []
        """Paths of all requests."""

    def _image(self, archive: Path) -> tuple[str, str]:
        with tarfile.open(archive) as content:

            def read(name: str) -> bytes:
                file = content.extractfile(name)
                assert file is not None
                return file.read()

            images = json.loads(read("manifest.json"))
            image = next(each for each in images if "/etcd:" in each["RepoTags"][0])
            config, (layer,) = json.loads(read(image["Config"])), image["Layers"]
            layers = [self._add(f"{_OCI}.layer.v1.tar", read(layer))]
        manifests = []
        for each in ("s390x", architecture()):
            described = self._json(f"{_OCI}.config.v1+json", {**config, "architecture": each})
            manifest = self._json(f"{_OCI}.manifest.v1+json", {"config": described, "layers": layers})
            manifests.append({**manifest, "platform": {"architecture": each, "os": "linux"}})
        index = self._json(f"{_OCI}.index.v1+json", {"manifests": manifests})
        return str(index["digest"]), str(manifests[-1]["digest"])

    def _json(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        parts = {} if ".config." in kind else {"schemaVersion": 2, "mediaType": kind}
        return self._add(kind, json.dumps({**parts, **content}).encode())

    def _add(self, kind: str, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.contents[digest] = (kind, content)
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def serving(self, address: str) -> AbstractContextManager[str]:
        """Serves on a free port of this address; yields its URL."""
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                given = self.headers.get("Authorization", "")
                if self.path.startswith("/token"):
                    basic = f"Basic {base64.b64encode(registry.login.encode()).decode()}"
                    self._answer(*((200, {"token": _TOKEN}) if given == basic else (401, {})))
                elif registry.login and given != f"Bearer {_TOKEN}":
                    realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="lab"'
                    self._answer(401, {}, {"WWW-Authenticate": realm})
                elif found := registry.contents.get(self.path.rpartition("/")[2].partition("?")[0]):
                    self._answer(200, found[1], {"Content-Type": found[0]})
                else:
                    self._answer(404, {})

            do_HEAD = do_GET  # noqa: N815  as it is called

            def do_POST(self) -> None:
                self._answer(405, {})

            def _answer(self, code: int, content: bytes | dict[str, Any], headers: Mapping[str, str] = {}) -> None:
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(code)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        return served_by(Handler, address)
