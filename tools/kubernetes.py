"""A control plane's programs and images, for machines without a way to a registry."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.base import architecture, cache, lock, put_in_place, run, scratch
from tools.etcd import BINARIES, etcd_binary
from tools.gobuild import build
from tools.kubeadm import CONTROL_PLANE, PROGRAMS, VERSION, ensure_programs

IMAGES = "images.tar"
_PLACE = "usr/local/bin"


def ensure_kubernetes() -> Path:
    """Return the cached folder with all programs and with IMAGES, an archive for `ctr images import`.

    Missing ones are downloaded, or built, which takes minutes. The image `pause` is always built.

    Raises:
        ToolError: no way to get them worked.
    """
    final = ensure_programs(*PROGRAMS)
    if not (final / IMAGES).is_file():
        with lock("build"), scratch() as folder:
            if not (final / IMAGES).is_file():
                build("pause", "pause", ".", folder / "pause")
                programs = {name: final / name for name in CONTROL_PLANE} | {"pause": folder / "pause"}
                named = {name: [programs[_program(name)]] for name in image_names(final / "kubeadm")}
                pack_images(named, folder / IMAGES)
                put_in_place(folder / IMAGES, final / IMAGES)
    return final


def ensure_etcd_image(version: str) -> Path:
    """Return the archive, beside IMAGES, with the image of etcd `version` ("3.6.16") for a stacked control plane.

    Its tag is the one of `etcd_tag`. Like the official one it has etcd, etcdctl and etcdutl.

    Raises:
        ToolError: the release or Kubernetes cannot be got.
    """
    folder = ensure_kubernetes()
    archive = folder / f"etcd-{version}.tar"
    if not archive.is_file():
        programs = [etcd_binary(version, name) for name in BINARIES]
        repository = image_names(folder / "kubeadm")[0].rpartition("/")[0]
        with lock("build"), scratch() as place:
            pack_images({f"{repository}/etcd:{etcd_tag(version)}": programs}, place / archive.name)
            put_in_place(place / archive.name, archive)
    return archive


def ensure_member_image(version: str) -> Path:
    """Return an archive with the images of etcd `version` and of a pod's sandbox, among the releases that a lab serves.

    Raises:
        ToolError: the release or Kubernetes cannot be got.
    """
    archive = cache() / "etcd" / "images" / f"etcd-{version}.tar"
    if not archive.is_file():
        names = image_names(ensure_kubernetes() / "kubeadm")
        pause = next(name for name in names if _program(name) == "pause")
        etcd = f"{pause.rpartition('/')[0]}/etcd:{etcd_tag(version)}"
        with lock("build"), scratch() as place:
            build("pause", "pause", ".", place / "pause")
            archive.parent.mkdir(parents=True, exist_ok=True)
            images = {etcd: [etcd_binary(version, "etcd")], pause: [place / "pause"]}
            pack_images(images, place / archive.name)
            put_in_place(place / archive.name, archive)
    return archive


def etcd_tag(version: str) -> str:
    """The tag of etcd's image for kubeadm's `etcd.local.imageTag`."""
    return f"{version}-0"


def image_names(kubeadm: Path) -> list[str]:
    """The images of a control plane with external etcd that has neither DNS nor kube-proxy, as kubeadm names them.

    Raises:
        ToolError: kubeadm does not run.
    """
    names = run([str(kubeadm), "config", "images", "list", "--kubernetes-version", f"v{VERSION}"], 60)
    return [name for name in names.split() if _program(name) in {*CONTROL_PLANE, "pause"}]


def _program(image: str) -> str:
    return image.rpartition("/")[2].partition(":")[0]


def pack_images(programs: Mapping[str, Sequence[Path]], target: Path) -> None:
    """Write images of static programs into an archive in the form of `docker save`.

    Args:
        programs: image name with tag -> its programs, which are on its PATH. The first one is its entry point.
    """
    manifest = []
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for image, (first, *others) in programs.items():
            layer = _layer([first, *others])
            digest = hashlib.sha256(layer).hexdigest()
            config = {
                "architecture": architecture(),
                "os": "linux",
                "config": {"Entrypoint": [f"/{_PLACE}/{first.name}"], "Env": [f"PATH=/{_PLACE}"]},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            }
            text = json.dumps(config).encode()
            name = f"{hashlib.sha256(text).hexdigest()}.json"
            _add(archive, f"{digest}/layer.tar", layer)
            _add(archive, name, text)
            manifest.append({"Config": name, "RepoTags": [image], "Layers": [f"{digest}/layer.tar"]})
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _layer(programs: Sequence[Path]) -> bytes:
    """A tar archive with the programs at their place."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as layer:
        for program in programs:
            _add(layer, f"{_PLACE}/{program.name}", program.read_bytes(), 0o755)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
