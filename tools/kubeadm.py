"""kubeadm, with which tests check that Kubernetes accepts the certificates and the configuration."""

from __future__ import annotations

from pathlib import Path

from tools.base import architecture, cache, first_way, lock, put_in_place, scratch
from tools.download import fetch, read_text
from tools.gobuild import build, expect_version

VERSION = "1.36.3"
RELEASES = "https://dl.k8s.io/release"


def _official(target: Path) -> None:
    url = f"{RELEASES}/v{VERSION}/bin/linux/{architecture()}/kubeadm"
    fetch(url, target, read_text(f"{url}.sha256").strip().lower())


def _built(target: Path) -> None:
    major, minor, _ = VERSION.split(".")
    variables = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in variables.items())
    build(f"kubeadm {VERSION}", "kubernetes", "k8s.io/kubernetes/cmd/kubeadm", target, f"-s -w {flags}")


def ensure_kubeadm() -> Path:
    """Return the path of kubeadm VERSION in the cache; builds it if missing, which takes minutes.

    Raises:
        ToolError: no way to get it worked.
    """
    final = cache() / "kubernetes" / f"v{VERSION}" / "kubeadm"
    if final.is_file():
        return final
    with lock("build"), scratch() as folder:
        if final.is_file():
            return final
        target = folder / "kubeadm"

        def official() -> None:
            _official(target)

        def built() -> None:
            _built(target)

        first_way(f"kubeadm {VERSION}", [("official release", official), ("built from Go modules", built)])
        target.chmod(0o755)
        expect_version([str(target), "version", "-o", "short"], f"v{VERSION}\n")
        put_in_place(target, final)
    return final
