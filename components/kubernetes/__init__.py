"""What Kubernetes reads: kubeadm's configuration and files, Cluster API's Secrets and patches.

Pure text: no Pulumi, no YAML library (JSON is valid YAML). The inputs are the outputs of `EtcdCluster`.
"""

from collections.abc import Sequence
from typing import Any

CA_FILE = "/etc/kubernetes/pki/etcd/ca.crt"
"""Where a control plane keeps etcd's CA certificate; kubeadm's default."""
CERTIFICATE_FILE = "/etc/kubernetes/pki/apiserver-etcd-client.crt"
"""Where a control plane keeps the API server's client certificate for etcd; kubeadm's default."""
KEY_FILE = "/etc/kubernetes/pki/apiserver-etcd-client.key"
"""Where a control plane keeps the key of that certificate; kubeadm's default."""


def external_etcd(endpoints: Sequence[str]) -> dict[str, Any]:
    """`etcd.external` as kubeadm and Cluster API both read it.

    It never has `httpEndpoints` (kubeadm 1.35 and later), because these members serve HTTP and gRPC on one port.

    Raises:
        ValueError: there is no endpoint, or one is not https.
    """
    if not endpoints or not all(endpoint.startswith("https://") for endpoint in endpoints):
        raise ValueError(f"etcd's endpoints must be https URLs, at least one; given {list(endpoints)}.")
    return {"endpoints": list(endpoints), "caFile": CA_FILE, "certFile": CERTIFICATE_FILE, "keyFile": KEY_FILE}
