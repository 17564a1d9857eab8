"""What Cluster API reads in the management cluster."""

from collections.abc import Sequence

from .yaml_text import block, external_etcd, quoted


def manifests(
    cluster_name: str,
    namespace: str,
    *,
    endpoints: Sequence[str],
    ca_certificate: str,
    certificate: str,
    private_key: str,
) -> str:
    """The two Secrets and the patch as one YAML text of three documents. Secret: it contains the private key.

    Apply the Secrets before the Cluster is created. Without them its control plane never starts.

    Args:
        cluster_name: name of the workload cluster's `Cluster` object.
        namespace: its namespace in the management cluster.
        endpoints: client URLs of all members.
        ca_certificate: etcd's CA certificate, PEM.
        certificate: the API server's client certificate, PEM.
        private_key: its private key, PEM.

    Raises:
        ValueError: a certificate or key is not PEM, or an endpoint is not https.
    """
    parts = (
        secrets(cluster_name, namespace, ca_certificate, certificate, private_key),
        control_plane_patch(cluster_name, namespace, endpoints),
    )
    return "---\n".join(parts)


def secrets(cluster_name: str, namespace: str, ca_certificate: str, certificate: str, private_key: str) -> str:
    """The Secrets `<cluster>-etcd` (without the CA's key) and `<cluster>-apiserver-etcd-client`.

    Arguments and errors: see `manifests`.
    """
    client = {"tls.crt": certificate, "tls.key": private_key}
    return "---\n".join(
        (
            _secret(cluster_name, namespace, "etcd", {"tls.crt": ca_certificate}),
            _secret(cluster_name, namespace, "apiserver-etcd-client", client),
        )
    )


def control_plane_patch(cluster_name: str, namespace: str, endpoints: Sequence[str]) -> str:
    """The part of a KubeadmControlPlane that makes it use the external etcd. It contains no secret.

    Merge it (by kustomize, or by hand) before the KubeadmControlPlane is created. Cluster API refuses a later change
    between local and external etcd. Arguments and errors: see `manifests`.
    """
    return (
        "# Merge into the KubeadmControlPlane before it is created. The path is the same in v1beta1.\n"
        "apiVersion: controlplane.cluster.x-k8s.io/v1beta2\n"
        "kind: KubeadmControlPlane\n"
        "metadata:\n"
        # Its name in clusterctl's templates.
        f"  name: {quoted(f'{cluster_name}-control-plane')}\n"
        f"  namespace: {quoted(namespace)}\n"
        "spec:\n"
        "  kubeadmConfigSpec:\n"
        "    clusterConfiguration:\n"
        f"{external_etcd(endpoints, 6)}"
    )


def aws_cluster(
    cluster_name: str, namespace: str, *, vpc_id: str, subnet_ids: Sequence[str], clients_group_id: str
) -> str:
    """Parts of an AWSCluster and its control plane's AWSMachineTemplate (Cluster API's provider for AWS).

    They put the cluster into etcd's VPC and let the control plane reach etcd.

    Args:
        cluster_name: name of the workload cluster's `Cluster` object.
        namespace: its namespace in the management cluster.
        vpc_id: ID of the VPC.
        subnet_ids: IDs of its subnets.
        clients_group_id: ID of the security group of etcd's clients.
    """
    subnets = "".join(f"      - id: {quoted(each)}\n" for each in subnet_ids)
    return (
        "# Merge into the AWSCluster before it is created: it makes no network of its own then.\n"
        "apiVersion: infrastructure.cluster.x-k8s.io/v1beta2\n"
        "kind: AWSCluster\n"
        "metadata:\n"
        f"  name: {quoted(cluster_name)}\n"
        f"  namespace: {quoted(namespace)}\n"
        "spec:\n"
        "  network:\n"
        "    vpc:\n"
        f"      id: {quoted(vpc_id)}\n"
        "    subnets:\n"
        f"{subnets}"
        "---\n"
        "# Merge into the template of the control plane's machines.\n"
        "apiVersion: infrastructure.cluster.x-k8s.io/v1beta2\n"
        "kind: AWSMachineTemplate\n"
        "metadata:\n"
        f"  name: {quoted(f'{cluster_name}-control-plane')}\n"
        f"  namespace: {quoted(namespace)}\n"
        "spec:\n"
        "  template:\n"
        "    spec:\n"
        "      additionalSecurityGroups:\n"
        f"        - id: {quoted(clients_group_id)}\n"
    )


def hetzner_cluster(cluster_name: str, namespace: str, *, network_range: str, subnet_range: str, zone: str) -> str:
    """The part of a HetznerCluster (Cluster API's provider for Hetzner) that makes its network match etcd's.

    That provider uses the network with its label for the cluster, or creates one. It does not accept a network ID.

    Args:
        cluster_name: name of the workload cluster's `Cluster` object.
        namespace: its namespace in the management cluster.
        network_range: range of the network.
        subnet_range: range of the subnet.
        zone: network zone.
    """
    return (
        "# Merge into the HetznerCluster before it is created. The path is the same in v1beta2.\n"
        "apiVersion: infrastructure.cluster.x-k8s.io/v1beta1\n"
        "kind: HetznerCluster\n"
        "metadata:\n"
        f"  name: {quoted(cluster_name)}\n"
        f"  namespace: {quoted(namespace)}\n"
        "spec:\n"
        "  hcloudNetwork:\n"
        "    enabled: true\n"
        f"    cidrBlock: {quoted(network_range)}\n"
        f"    subnetCidrBlock: {quoted(subnet_range)}\n"
        f"    networkZone: {quoted(zone)}\n"
    )


def _secret(cluster_name: str, namespace: str, purpose: str, data: dict[str, str]) -> str:
    return (
        "apiVersion: v1\n"
        "kind: Secret\n"
        "metadata:\n"
        f"  name: {quoted(f'{cluster_name}-{purpose}')}\n"
        f"  namespace: {quoted(namespace)}\n"
        "  labels:\n"
        f"    cluster.x-k8s.io/cluster-name: {quoted(cluster_name)}\n"
        # Not kubernetes.io/tls: the API server refuses that type without a tls.key.
        "type: cluster.x-k8s.io/secret\n"
        "stringData:\n" + "".join(f"  {name}: {block(pem, 4)}" for name, pem in data.items())
    )
