"""kubeadm's configuration and files on a control plane."""

from collections.abc import Sequence

from . import CA_FILE, CERTIFICATE_FILE, KEY_FILE
from .yaml_text import external_etcd


def cluster_configuration(endpoints: Sequence[str]) -> str:
    """A ClusterConfiguration (kubeadm.k8s.io/v1beta4, Kubernetes 1.31 and newer) that uses the external etcd; YAML.

    Add your settings, put the files of `files` in place, and run `kubeadm init --config FILE`.

    Args:
        endpoints: client URLs of all members.

    Raises:
        ValueError: there is no endpoint, or one is not https.
    """
    return f"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n{external_etcd(endpoints, 0)}"


def files(ca_certificate: str, certificate: str, private_key: str) -> dict[str, str]:
    """Path on every control plane -> content of the files in the configuration. The last one is secret.

    Args:
        ca_certificate: etcd's CA certificate, PEM.
        certificate: the API server's client certificate, PEM.
        private_key: its private key, PEM.
    """
    return {CA_FILE: ca_certificate, CERTIFICATE_FILE: certificate, KEY_FILE: private_key}
