"""What the consumers in Kubernetes read: kubeadm's configuration and files, Cluster API's Secrets and patch.

Pure text: no Pulumi, no YAML library. Inputs are what `EtcdCluster` puts out.
"""

CA_FILE = "/etc/kubernetes/pki/etcd/ca.crt"
"""Where a control plane keeps etcd's CA certificate; kubeadm's own place."""
CERTIFICATE_FILE = "/etc/kubernetes/pki/apiserver-etcd-client.crt"
"""Where a control plane keeps the API server's client certificate for etcd; kubeadm's own place."""
KEY_FILE = "/etc/kubernetes/pki/apiserver-etcd-client.key"
"""Where a control plane keeps the key of that certificate; kubeadm's own place."""
