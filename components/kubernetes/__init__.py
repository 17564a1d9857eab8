"""What Kubernetes reads: kubeadm's configuration and files, Cluster API's Secrets and patch.

Pure text: no Pulumi, no YAML library. The inputs are the outputs of `EtcdCluster`.
"""

CA_FILE = "/etc/kubernetes/pki/etcd/ca.crt"
"""Where a control plane keeps etcd's CA certificate; kubeadm's default."""
CERTIFICATE_FILE = "/etc/kubernetes/pki/apiserver-etcd-client.crt"
"""Where a control plane keeps the API server's client certificate for etcd; kubeadm's default."""
KEY_FILE = "/etc/kubernetes/pki/apiserver-etcd-client.key"
"""Where a control plane keeps the key of that certificate; kubeadm's default."""
