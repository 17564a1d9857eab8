"""etcd's image: pulled by its digest, or loaded from an archive, and checked, before etcd needs it.

Here it has a name of its own. Other names that containerd has given it are removed, so that the last one removes it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import platform
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say
from ..shared.spec import Spec
from . import kubelet, registry
from .mirror import open_url
from .registry import CTR

_REPOSITORY = "localhost/external-etcd"
_CHUNK = 1 << 20
_MOST = 2 << 30
_SECONDS = 120


def name(image: str) -> str:
    """The name of an image on this machine: by its checksum or digest, so another one has another.

    Args:
        image: `URL#sha256=HEX` or `NAME@sha256:HEX`.
    """
    return f"{_REPOSITORY}:{image[-64:][:24]}"


def ensure(spec: Spec) -> None:
    """Pulls or loads the image unless it is there, and proves that it has the desired release.

    Raises:
        NodeError: it cannot be had, or is not such an image.
    """
    wanted, before = name(spec.image), _names()
    what, place = spec.image.partition("#")[0], paths.RUN / f"image-{wanted.rpartition(':')[2]}"
    unmount()
    if wanted in before:
        # It may have come with another release in the configuration.
        _refuse_another_version(wanted, what, spec.release.version, place)
        return
    if what == spec.image:
        phase("pull etcd's image")
        source = registry.pull(spec)
    else:
        phase("load etcd's image")
        source = _load(spec, what)
    try:
        _refuse_another_version(source, what, spec.release.version, place)
        run([*CTR, "images", "tag", "--force", source, wanted], _SECONDS)
    finally:
        if source not in before:
            _remove([source])
    say(f"etcd's image {spec.release.version} {'pulled' if what == spec.image else 'loaded'}")


def unmount() -> None:
    """Unmounts the images that a killed run has left: their places could not be removed."""
    for place in paths.RUN.glob("image-*"):
        with contextlib.suppress(NodeError):
            _unmount(place)


def remove_others(image: str) -> None:
    """Removes the images of this program but this one; empty: all."""
    with contextlib.suppress(NodeError):  # without containerd there are none
        _remove([each for each in _names() if each.startswith(f"{_REPOSITORY}:") and each != name(image)])


def _names() -> list[str]:
    """The names of all images."""
    if not Path("/run/containerd/containerd.sock").exists():
        return []
    return run([*CTR, "images", "ls", "--quiet"], 30).stdout.split()


def _remove(names: list[str]) -> None:
    """Removes names, and with the last one of an image its ID, which containerd's CRI plugin has added as a name."""
    if not names:
        return
    rows = [line.split() for line in run([*CTR, "images", "ls"], 30).stdout.splitlines()]
    digests = {row[0]: row[2] for row in rows if len(row) > 2}
    for each in names:
        digest = digests.pop(each, "")
        others = [other for other, found in digests.items() if found == digest]
        ids = others if all(other.startswith("sha256:") for other in others) else []
        run([*CTR, "images", "rm", each, *ids], _SECONDS, check=False)


def _load(spec: Spec, url: str) -> str:
    """Loads the archive; returns the name that etcd's image has in it."""
    # By this name the next installation of a release, and `retire`, remove what a killed run has left.
    with tempfile.TemporaryDirectory(prefix=".v", suffix=".new", dir=paths.RELEASES) as folder:
        archive = Path(folder) / "image.tar"
        _fetch(url, spec.image[-64:], archive, spec)
        source = _etcd_in(archive, url)
        run([*CTR, "images", "import", str(archive)], _SECONDS)
    return source


def _fetch(url: str, digest: str, target: Path, spec: Spec) -> None:
    found, count, release = hashlib.sha256(), 0, spec.release
    if urlsplit(url)[:2] != urlsplit(release.mirror)[:2]:
        # The others are for the mirror alone.
        kept = {each: text for each, text in release.headers.items() if each.lower() == "proxy-authorization"}
        release = replace(release, headers=kept)
    with open_url(url, release, time.time) as answer, target.open("xb") as file:
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


def _refuse_another_version(image: str, what: str, version: str, place: Path) -> None:
    with _mounted(image, place) as root:
        program = root / paths.IMAGE_ETCD.lstrip("/")
        if not program.is_file():
            raise NodeError(f"{what} has no {paths.IMAGE_ETCD}", "Use an image of an etcd release.")
        try:
            said = run([str(program), "--version"], 20).stdout
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            raise NodeError(
                f"{what} is an image for another architecture than that of this machine ({platform.machine()})",
                "Use the image for this architecture; by digest, an index of images can have both.",
            ) from None
    found = said.splitlines()[0].rpartition(" ")[2] if said else "nothing"
    if found != version:
        raise NodeError(
            f"{what} has etcd {found}, and the configuration says {version}",
            "Set `version` and `etcdImage` to the same release.",
        )


@contextlib.contextmanager
def _mounted(image: str, place: Path) -> Iterator[Path]:
    # While this directory exists, it would be the permission that an interrupted start may have left.
    kubelet.forbid()
    files.directory(paths.RUN, 0o700)
    files.directory(place)
    run([*CTR, "images", "mount", image, str(place)], _SECONDS)
    try:
        yield place
    finally:
        _unmount(place)


def _unmount(place: Path) -> None:
    run([*CTR, "images", "unmount", "--rm", str(place)], _SECONDS, check=False)
    files.remove_empty([place, paths.RUN])
