"""CRDs of Cluster API and its provider for AWS, its template, and the Go source that names the Secrets. For tests."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.base import ToolError, cache, first_way, lock, put_in_place, scratch
from tools.download import fetch, sha256
from tools.gobuild import download_module

TAGS = "https://raw.githubusercontent.com/kubernetes-sigs"
VERSION, AWS_VERSION = "1.14.2", "2.13.0"
_KUBEADM = "controlplane/kubeadm/config/crd/bases/controlplane.cluster.x-k8s.io"
_AWS = "config/crd/bases/infrastructure.cluster.x-k8s.io"
_CORE = "core/config/crd/bases"
_TEMPLATES = "bootstrap/kubeadm/config/crd/bases/bootstrap.cluster.x-k8s.io_kubeadmconfigtemplates.yaml"
TEMPLATE = "cluster-template.yaml"
"""File name of what `clusterctl generate cluster` fills in for AWS."""


@dataclass(frozen=True)
class Source:
    """Files of a Go module. Their checksums pin them: a go.mod for tools/go would name hundreds of other modules."""

    module: str
    version: str
    folder: str
    """The module's folder below TAGS."""
    files: Mapping[str, str]
    """Path in the module -> SHA-256."""


SOURCES = (
    Source(
        "sigs.k8s.io/cluster-api",
        VERSION,
        f"cluster-api/v{VERSION}",
        {
            f"{_KUBEADM}_kubeadmcontrolplanes.yaml": "0c97877297fb7f4211e96a1716901ec415e9e1f676c2433cd22effc175cda805",
            _TEMPLATES: "f9c8195edb1053435a6f23a1fb0cbb479a5fe074a9231badec073c72ec7fc7ad",
            f"{_CORE}/cluster.x-k8s.io_clusters.yaml": (
                "39768d1dbe14c7932e4fc4aacd90fcc08395f5922f74886e1a3d87868ce8d997"
            ),
            f"{_CORE}/cluster.x-k8s.io_machinedeployments.yaml": (
                "7e24327ee53661507cf25fb2e0aa24053e7d565c2de72f52cdec412fde908dba"
            ),
            f"{_CORE}/addons.cluster.x-k8s.io_clusterresourcesets.yaml": (
                "0731dfe1077ea4b7f3e2fa883a8ef3f899e7df53f4775a2690a9ca78ca098e2e"
            ),
            "util/secret/consts.go": "ec9f9af85acf5e34a0c41c239441fd0580ead35d7b23756b8d927d2c1e99e9d9",
            "util/secret/secret.go": "9aecabec711148275e6ee2c9024b8754d93c18e1f1fdc08c4a5ea4e39f6ea188",
        },
    ),
    Source(
        "sigs.k8s.io/cluster-api/api",
        VERSION,
        f"cluster-api/v{VERSION}/api",
        {"core/v1beta2/common_types.go": "1a76451bd52906177cf0abf43cb798a4e2ffc83cd25a9ac9f720b89bbc9e2baa"},
    ),
    Source(
        "sigs.k8s.io/cluster-api-provider-aws/v2",
        AWS_VERSION,
        f"cluster-api-provider-aws/v{AWS_VERSION}",
        {
            f"{_AWS}_awsclusters.yaml": "5085339a3e01cc81dc8e3301de5f97c11cf106250274a464a8e6d6baccdf9e62",
            f"{_AWS}_awsmachinetemplates.yaml": "5afa23f71ddcfc46ab7e19bf76ceb45a16b6f6984a5ec7660b5a5273058c2312",
            f"templates/{TEMPLATE}": "0e985724425ae24257fa45fa65f08e10c31c3538032081299f1a499f3e98e9a7",
        },
    ),
)


def ensure_cluster_api() -> list[Path]:
    """Return the files of SOURCES in the cache, in this order; gets missing ones.

    Raises:
        ToolError: no way to get them worked.
    """
    folder = cache() / "cluster-api" / f"v{VERSION}-aws-v{AWS_VERSION}"
    with lock("cluster-api"):
        return [path for source in SOURCES for path in _ensured(source, folder)]


def _ensured(source: Source, folder: Path) -> list[Path]:
    found = {folder / Path(path).name: (path, digest) for path, digest in source.files.items()}
    if all(target.is_file() for target in found):
        return list(found)
    with scratch() as new:

        def tagged() -> None:
            for target, (path, digest) in found.items():
                fetch(f"{TAGS}/{source.folder}/{path}", new / target.name, digest)

        def from_module() -> None:
            module = download_module(source.module, source.version)
            for target, (path, digest) in found.items():
                shutil.copyfile(module / path, new / target.name)
                if (there := sha256(new / target.name)) != digest:
                    raise ToolError(f"{path} in {source.module} has the SHA-256 {there} instead of {digest}")

        first_way(f"{source.module} {source.version}", [("its tag", tagged), ("Go module", from_module)])
        for target in found:
            put_in_place(new / target.name, target)
    return list(found)
