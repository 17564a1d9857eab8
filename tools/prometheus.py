"""Prometheus and what tests use with it, from Debian's packages; two CRDs of the Prometheus Operator."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tools.base import ToolError, architecture, cache, first_way, lock, put_in_place, run, scratch
from tools.download import fetch, sha256
from tools.gobuild import build, go_command, module_folder
from tools.packages import update_lists

PACKAGES = {"prometheus": ("prometheus", "promtool"), "prometheus-node-exporter": ("prometheus-node-exporter",)}
"""Debian's package -> its programs."""
OPERATOR = "0.93.0"
TAGS = "https://raw.githubusercontent.com"
_REPOSITORY = "prometheus-operator/prometheus-operator"
FOLDER = f"{_REPOSITORY}/v{OPERATOR}/example/prometheus-operator-crd"
"""The folder of the release's CRDs, below TAGS."""
_CRDS = {
    "servicemonitors": "a99047972c9dd7679ce2050b9968e8a08773492e671b3e17abd476d42aa78a32",
    "prometheusrules": "78be98554b9c8506ab2b4f4feb91c5f3a56e536a0a510f3a8e876a459970d56d",
}
"""Kind, as in a URL -> SHA-256 of its file."""
_MODULE = "prometheus-operator"
"""Below tools/go: the types of the operator's objects, and the program that makes CRDs of them."""
_REMEDY = (
    "Tests need Debian's packages prometheus, prometheus-node-exporter and strace, installed or available to apt-get."
)
_LIMIT = 300.0  # seconds


def ensure_prometheus() -> Path:
    """Return a folder with the programs of PACKAGES: that of the installed ones, or one in the cache, unpacked.

    The packages are not installed, because that would start their services.

    Raises:
        ToolError: they are not installed, and apt-get cannot download them.
    """
    return _ensure("monitoring", PACKAGES)


def ensure_alertmanager() -> Path:
    """Return a folder with prometheus-alertmanager; raises the same."""
    return _ensure("alertmanager", {"prometheus-alertmanager": ("prometheus-alertmanager",)})


def ensure_strace() -> Path:
    """Return a folder with strace, and with the libraries that it needs if it is not installed; raises the same."""
    return _ensure("strace", {"strace": ("strace",), "libunwind8": ()})


def _ensure(label: str, packages: Mapping[str, tuple[str, ...]]) -> Path:
    installed = [shutil.which(name) for programs in packages.values() for name in programs]
    if all(installed):
        return Path(str(installed[0])).parent
    final = cache() / label / architecture()
    if final.is_dir():
        return final
    with lock("prometheus"), scratch() as folder:
        if not final.is_dir():
            update_lists()
            ready = folder / "ready"
            ready.mkdir()
            for package, programs in packages.items():
                try:
                    run(["apt-get", "download", "-q", package], _LIMIT, folder=folder)
                except ToolError as error:
                    raise ToolError(f"{error}\n{_REMEDY}") from error
                [archive] = folder.glob(f"{package}_*.deb")
                run(["dpkg-deb", "--extract", archive.name, "content"], _LIMIT, folder=folder)
                for name in programs:
                    (folder / "content" / "usr" / "bin" / name).rename(ready / name)
            for library in (folder / "content").glob("usr/lib/*/*.so.*"):
                library.rename(ready / library.name)
            put_in_place(ready, final)
    return final


def ensure_operator_crds() -> list[Path]:
    """Return the files with the CRDs, as the operator's release has them; makes those that are missing.

    Raises:
        ToolError: no way to get one worked.
    """
    return [_ensure_crd(kind, digest) for kind, digest in _CRDS.items()]


def crd(kind: str) -> str:
    """The name of the file with the CRD of a kind."""
    return f"monitoring.coreos.com_{kind}.yaml"


def _ensure_crd(kind: str, digest: str) -> Path:
    final = cache() / "prometheus-operator" / f"v{OPERATOR}" / crd(kind)
    if final.is_file():
        return final
    with lock("build"), scratch() as folder:
        target = folder / crd(kind)

        def tagged() -> None:
            fetch(f"{TAGS}/{FOLDER}/{target.name}", target, digest)

        def made() -> None:
            _make(target, kind, digest)

        if not final.is_file():
            first_way(f"the CRD of {kind} {OPERATOR}", [("its tag", tagged), ("Go module", made)])
            put_in_place(target, final)
    return final


def _make(target: Path, kind: str, digest: str) -> None:
    """As the release makes it: its Go module has the types only."""
    generator, go = target.parent / "controller-gen", go_command(module_folder(_MODULE))
    build(generator.name, _MODULE, "sigs.k8s.io/controller-tools/cmd/controller-gen", generator)
    paths = f"paths=github.com/{_REPOSITORY}/pkg/apis/monitoring/v1"
    # It runs go.
    path = f"{Path(go).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    run(
        [str(generator), "crd:crdVersions=v1", paths, f"output:crd:dir={target.parent / 'made'}"],
        _LIMIT,
        folder=module_folder(_MODULE),
        environ={"PATH": path, "GOWORK": "off", "GOFLAGS": "-mod=readonly"},
    )
    # The release adds its version.
    head, mark, rest = (target.parent / "made" / target.name).read_text().partition(f"  name: {kind}.")
    target.write_text(f"{head}    operator.prometheus.io/version: {OPERATOR}\n{mark}{rest}")
    if (there := sha256(target)) != digest:
        raise ToolError(f"the CRD made from the Go module has the SHA-256 {there} instead of the release's {digest}")
