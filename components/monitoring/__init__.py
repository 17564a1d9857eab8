"""What monitors a cluster: the configuration of Prometheus, objects of its Operator, alerts, a Grafana dashboard.

Pure text and data: no Pulumi, no YAML library. The inputs are the outputs of `EtcdCluster`. `alerts` is the table from
which `rules`, `dashboard` and the manual (`manual`) are made, in the form that `expressions` describes.

Prometheus scrapes port 2379 with a client certificate, or port 2381 in plain http if it is served on the private
address. In both forms a member has the same labels: `job`, `cluster` and `member`.
"""

from ..plan.members import CLIENT_PORT, METRICS_PORT

SERVICE_LABEL = 63
"""Characters in the name of a Service, at most."""


def job(cluster_name: str) -> str:
    """The job of the cluster's members; etcd's own rules and dashboards look for `.*etcd.*`."""
    return f"etcd-{cluster_name}"


def port(*, tls: bool) -> int:
    """The port that Prometheus scrapes, with a client certificate or without."""
    return CLIENT_PORT if tls else METRICS_PORT
