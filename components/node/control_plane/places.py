"""Where kubeadm keeps what on a control plane, and where this program keeps what it has replaced."""

from __future__ import annotations

from pathlib import Path

KUBERNETES = Path("/etc/kubernetes")
MANIFESTS = KUBERNETES / "manifests"
API_SERVER = MANIFESTS / "kube-apiserver.yaml"
AWAY = MANIFESTS / ".kube-apiserver.yaml.away"
"""The API server's next manifest, until the old API server has ended. The kubelet ignores it for its first dot."""
ETCD = MANIFESTS / "etcd.yaml"
ADMIN = KUBERNETES / "admin.conf"
PKI = KUBERNETES / "pki/etcd"
"""Certificates of the stacked member, under the names that a member of ours gives its own."""
CA_FILE = PKI / "ca.crt"
CA_KEY = PKI / "ca.key"
CERTIFICATE_FILE = KUBERNETES / "pki/apiserver-etcd-client.crt"
KEY_FILE = KUBERNETES / "pki/apiserver-etcd-client.key"

KEPT = KUBERNETES / "external-etcd"
"""What was replaced, under its own name. Not among the manifests: the kubelet runs every file there."""


def kept(path: Path) -> Path:
    """Where the earlier content of a file is kept."""
    return KEPT / path.name
