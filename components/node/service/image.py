"""etcd's image: downloaded, checked and loaded before etcd needs it. Machines need no route to a registry."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say
from ..shared.spec import Spec
from .mirror import open_url

_CTR = ("ctr", "--namespace=k8s.io")
_REPOSITORY = "localhost/external-etcd"
_CHUNK = 1 << 20
_MOST = 2 << 30
_SECONDS = 120


def name(archive: str) -> str:
    """The name of the image of an archive on this machine: by the archive's checksum, so another one has another.

    Args:
        archive: `URL#sha256=HEX`.
    """
    return f"{_REPOSITORY}:{archive.rpartition('=')[2][:24]}"


def ensure(spec: Spec) -> None:
    """Loads the image unless it is there, and proves that it has the desired release.

    Raises:
        NodeError: it cannot be downloaded, or is not such an image.
    """
    wanted = name(spec.image)
    if wanted in _loaded():
        return
    phase("load etcd's image")
    url, _, digest = spec.image.partition("#sha256=")
    # By this name the next installation of a release, and `retire`, remove what a killed run has left.
    with tempfile.TemporaryDirectory(prefix=".v", suffix=".new", dir=paths.RELEASES) as folder:
        archive = Path(folder) / "image.tar"
        _fetch(url, digest, archive, spec)
        source = _etcd_in(archive, url)
        run([*_CTR, "images", "import", str(archive)], _SECONDS)
        run([*_CTR, "images", "tag", "--force", source, wanted], _SECONDS)
    try:
        _refuse_another_version(wanted, url, spec.release.version)
    except NodeError:
        run([*_CTR, "images", "rm", wanted], _SECONDS, check=False)
        raise
    say(f"etcd's image {spec.release.version} loaded")


def remove_others(archive: str) -> None:
    """Removes the images of this program but the one of this archive; empty: all."""
    with contextlib.suppress(NodeError):  # without containerd there are none
        for each in _loaded():
            if each != name(archive):
                run([*_CTR, "images", "rm", each], _SECONDS, check=False)


def _loaded() -> list[str]:
    if not Path("/run/containerd/containerd.sock").exists():
        return []
    said = run([*_CTR, "images", "ls", "--quiet"], 30).stdout
    return [each for each in said.split() if each.startswith(f"{_REPOSITORY}:")]


def _fetch(url: str, digest: str, target: Path, spec: Spec) -> None:
    found, count = hashlib.sha256(), 0
    with open_url(url, spec.release, time.time) as answer, target.open("xb") as file:
        while chunk := answer.read(_CHUNK):
            found.update(chunk)
            count += file.write(chunk)
            if count > _MOST:
                raise NodeError(f"{url} is longer than {_MOST >> 20} MiB", "Check `etcdImage`.")
    if found.hexdigest() != digest:
        raise NodeError(
            f"{url} has SHA-256 {found.hexdigest()}, and the configuration says {digest}; nothing was loaded",
            "Do not use this archive before you know the cause: a broken mirror, a wrong checksum in `etcdImage`, or a "
            "tampered file.",
        )


def _etcd_in(archive: Path, url: str) -> str:
    """The name of etcd's image in an archive; it may have others, like the one for the pod's sandbox."""
    names: list[str] = []
    try:
        with tarfile.open(archive) as content:
            file = content.extractfile("manifest.json")
            manifest: Any = json.load(file) if file is not None else []
        names = [tag for image in manifest for tag in image["RepoTags"] or ()]
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError):
        pass
    for each in names:
        if each.rpartition("/")[2].partition(":")[0] == "etcd":
            return each
    raise NodeError(
        f"{url} has no image that is named etcd (found: {', '.join(names) or 'none'})",
        "Save one with its name and tag, as `docker save registry.example.com/etcd:3.6.16` does.",
    )


def _refuse_another_version(image: str, url: str, version: str) -> None:
    with _mounted(image) as root:
        program = root / paths.IMAGE_ETCD.lstrip("/")
        if not program.is_file():
            raise NodeError(f"{url} has no {paths.IMAGE_ETCD}", "Use an image of an etcd release.")
        said = run([str(program), "--version"], 20).stdout
    found = said.splitlines()[0].rpartition(" ")[2] if said else "nothing"
    if found != version:
        raise NodeError(
            f"{url} has etcd {found}, and the configuration says {version}",
            "Set `version` and `etcdImage` to the same release.",
        )


@contextlib.contextmanager
def _mounted(image: str) -> Iterator[Path]:
    place = paths.RUN / f"image-{image.rpartition(':')[2]}"
    files.directory(paths.RUN, 0o700)
    files.directory(place)
    run([*_CTR, "images", "mount", image, str(place)], _SECONDS)
    try:
        yield place
    finally:
        run([*_CTR, "images", "unmount", "--rm", str(place)], _SECONDS, check=False)
        files.remove_empty([place, paths.RUN])
