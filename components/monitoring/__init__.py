"""What monitors a cluster: the configuration of Prometheus, objects of its Operator, alerts, a Grafana dashboard.

Pure text and data: no Pulumi, no YAML library. The inputs are the outputs of `EtcdCluster`. `alerts` is the table from
which `rules`, `dashboard` and the manual (`manual`) are made, in the form that `expressions` describes.

Prometheus scrapes port 2379 with a client certificate. If metrics are served on the private address, it scrapes port
2381 without one, and port 2382 for what etcd does not know: a second job. In all forms a member has the same labels
`cluster` and `member`.
"""

from ..plan.members import CLIENT_PORT, MACHINE_METRICS_PORT, METRICS_PORT

SERVICE_LABEL = 63
"""Characters in the name of a Service, at most."""


def job(cluster_name: str) -> str:
    """The job of the cluster's members; etcd's own rules and dashboards look for `.*etcd.*`."""
    return f"etcd-{cluster_name}"


MACHINES_JOB = "machines"
"""The job of their machines, which serve what etcd does not know. It has no name of a cluster, which may have `etcd` in
it: etcd's own rules would take them for members."""


def ports(cluster_name: str, *, tls: bool) -> dict[str, int]:
    """Job -> the port of each member that Prometheus scrapes, with a client certificate or without.

    Args:
        cluster_name: name of the cluster.
        tls: whether Prometheus has a client certificate.
    """
    if tls:
        return {job(cluster_name): CLIENT_PORT}
    return {job(cluster_name): METRICS_PORT, MACHINES_JOB: MACHINE_METRICS_PORT}
