"""Prometheus from Debian's package, and the CRD of the Prometheus Operator's ServiceMonitor. For tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tools.base import ToolError, architecture, cache, first_way, lock, put_in_place, scratch
from tools.download import fetch, sha256
from tools.gobuild import build, go_command, module_folder

PROGRAMS = ("prometheus", "promtool")
OPERATOR = "0.93.0"
TAGS = "https://raw.githubusercontent.com"
_REPOSITORY = "prometheus-operator/prometheus-operator"
FOLDER = f"{_REPOSITORY}/v{OPERATOR}/example/prometheus-operator-crd"
"""The folder of the release's CRDs, below TAGS."""
CRD = "monitoring.coreos.com_servicemonitors.yaml"
_CRD_SHA256 = "a99047972c9dd7679ce2050b9968e8a08773492e671b3e17abd476d42aa78a32"
_MODULE = "prometheus-operator"
"""Below tools/go: the types of the operator's objects, and the program that makes CRDs of them."""
_REMEDY = "\nTests need Debian's package prometheus, installed or available to apt-get."
_LIMIT = 300.0  # seconds


def ensure_prometheus() -> Path:
    """Return a folder with PROGRAMS: that of the installed package, or one in the cache, unpacked from it.

    The package is not installed, because that would start its service.

    Raises:
        ToolError: it is not installed, and apt-get cannot download it.
    """
    installed = [shutil.which(name) for name in PROGRAMS]
    if all(installed):
        return Path(str(installed[0])).parent
    final = cache() / "prometheus" / architecture()
    if final.is_dir():
        return final
    with lock("prometheus"), scratch() as folder:
        if not final.is_dir():
            # After a failed update the old lists may still work.
            _run(folder, "apt-get", "update", "-q", check=False)
            _run(folder, "apt-get", "download", "-q", "prometheus", remedy=_REMEDY)
            [package] = folder.glob("*.deb")
            _run(folder, "dpkg-deb", "--extract", package.name, "content")
            ready = folder / "ready"
            ready.mkdir()
            for name in PROGRAMS:
                (folder / "content" / "usr" / "bin" / name).rename(ready / name)
            put_in_place(ready, final)
    return final


def _run(folder: Path, *command: str, remedy: str = "", check: bool = True, **environ: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        said, failed = (done.stdout + done.stderr).strip(), done.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        said, failed = str(error), True
    if failed and check:
        raise ToolError(f"{' '.join(command)} failed: {said}{remedy}")


def ensure_operator_crd() -> Path:
    """Return the file with the CRD of ServiceMonitor, as the operator's release has it; makes it if it is missing.

    Raises:
        ToolError: no way to get it worked.
    """
    final = cache() / "prometheus-operator" / f"v{OPERATOR}" / CRD
    if final.is_file():
        return final
    with lock("build"), scratch() as folder:
        target = folder / CRD

        def tagged() -> None:
            fetch(f"{TAGS}/{FOLDER}/{CRD}", target, _CRD_SHA256)

        if not final.is_file():
            first_way(
                f"the CRD of ServiceMonitor {OPERATOR}", [("its tag", tagged), ("Go module", lambda: _made(target))]
            )
            put_in_place(target, final)
    return final


def _made(target: Path) -> None:
    """As the release makes it: its Go module has the types only."""
    generator, go = target.parent / "controller-gen", go_command(module_folder(_MODULE))
    build(generator.name, _MODULE, "sigs.k8s.io/controller-tools/cmd/controller-gen", generator)
    paths = f"paths=github.com/{_REPOSITORY}/pkg/apis/monitoring/v1"
    # It runs go.
    path = f"{Path(go).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    _run(
        module_folder(_MODULE),
        str(generator),
        "crd:crdVersions=v1",
        paths,
        f"output:crd:dir={target.parent / 'made'}",
        PATH=path,
        GOWORK="off",
        GOFLAGS="-mod=readonly",
    )
    # The release adds its version.
    head, mark, rest = (target.parent / "made" / CRD).read_text().partition("  name: servicemonitors.")
    target.write_text(f"{head}    operator.prometheus.io/version: {OPERATOR}\n{mark}{rest}")
    if (there := sha256(target)) != _CRD_SHA256:
        raise ToolError(
            f"the CRD made from the Go module has the SHA-256 {there} instead of the release's {_CRD_SHA256}"
        )
