"""The programs of a Kubernetes release: kubeadm for most tests, all of them for control planes on lab machines."""

from __future__ import annotations

from pathlib import Path

from tools.base import architecture, cache, first_way, lock, put_in_place, scratch
from tools.download import fetch, read_text
from tools.gobuild import build_all, expect_version

VERSION = "1.36.3"
RELEASES = "https://dl.k8s.io/release"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""The programs that run as static pods."""
PROGRAMS = (*CONTROL_PLANE, "kubelet", "kubeadm", "kubectl")


def _official(names: list[str], folder: Path) -> None:
    for name in names:
        url = f"{RELEASES}/v{VERSION}/bin/linux/{architecture()}/{name}"
        fetch(url, folder / name, read_text(f"{url}.sha256").strip().lower())


def _built(names: list[str], folder: Path) -> None:
    major, minor, _ = VERSION.split(".")
    variables = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in variables.items())
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in names]
    # All in one run: they share most of their packages.
    build_all(f"{', '.join(names)} {VERSION}", "kubernetes", packages, folder, f"-s -w {flags}")


def _asked(program: Path) -> list[str]:
    """The command that prints the program's version."""
    words = {"kubeadm": ["version", "-o", "short"], "kubectl": ["version", "--client"]}
    return [str(program), *words.get(program.name, ["--version"])]


def programs_folder() -> Path:
    """Where the programs of VERSION are in the cache."""
    return cache() / "kubernetes" / f"v{VERSION}"


def ensure_programs(*names: str) -> Path:
    """Return the folder with these programs of VERSION in the cache; gets missing ones, which takes minutes to build.

    Raises:
        ToolError: no way to get them worked.
    """
    final = programs_folder()

    def missing() -> list[str]:
        return [name for name in names if not (final / name).is_file()]

    if not missing():
        return final
    with lock("build"), scratch() as folder:
        if not (wanted := missing()):
            return final

        def official() -> None:
            _official(wanted, folder)

        def built() -> None:
            _built(wanted, folder)

        ways = [("official release", official), ("built from Go modules", built)]
        first_way(f"{', '.join(wanted)} {VERSION}", ways)
        for name in wanted:
            (folder / name).chmod(0o755)
            expect_version(_asked(folder / name), f"v{VERSION}")
            put_in_place(folder / name, final / name)
    return final


def ensure_kubeadm() -> Path:
    """Return the path of kubeadm VERSION in the cache; builds it if missing, which takes minutes.

    Raises:
        ToolError: no way to get it worked.
    """
    return ensure_programs("kubeadm") / "kubeadm"
