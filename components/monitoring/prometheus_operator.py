"""What the Prometheus Operator reads: Service without a selector, Endpoints, Secret, ServiceMonitor, PrometheusRule."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from ..kubernetes.cluster_api import Document
from . import MACHINES_JOB, SERVICE_LABEL, job, ports

_PORTS = ("metrics", "machines")
# The meta labels of both roles of discovery, of which a target has one: Endpoints, and the EndpointSlices into which
# Kubernetes copies these Endpoints.
_HOSTNAMES = ["__meta_kubernetes_endpoint_hostname", "__meta_kubernetes_endpointslice_endpoint_hostname"]


def objects(
    cluster_name: str,
    members: Mapping[str, str],
    *,
    namespace: str,
    labels: Mapping[str, str],
    rules: Sequence[Mapping[str, Any]],
    client: Mapping[str, str] | None,
    ca_certificate: str,
) -> list[Document]:
    """The objects in the order in which they are applied.

    Args:
        members: name -> private address.
        namespace: for all objects.
        labels: more labels of the ServiceMonitor and the PrometheusRule, by which a Prometheus object selects them.
        rules: groups of rules.
        client: `certificate` and `private_key` of Prometheus, PEM. None: it has none, and there is no Secret.
        ca_certificate: etcd's CA certificate, PEM.
    """
    own = {"app.kubernetes.io/name": "etcd", "app.kubernetes.io/instance": cluster_name}
    # A Service has the shortest names of all.
    name = job(cluster_name)[:SERVICE_LABEL].rstrip("-")
    secret = f"{name}-client"

    def document(kind: str, contents: Mapping[str, Any], *, version: str = "v1", called: str = name) -> Document:
        metadata = {"name": called, "namespace": namespace, "labels": dict(own)}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, **contents}

    jobs = ports(cluster_name, tls=client is not None)
    served = [
        {"name": called, "port": port, "protocol": "TCP"} for called, port in zip(_PORTS, jobs.values(), strict=False)
    ]
    # In the order in which the API server keeps them, so that the same members are no difference.
    named = sorted((address, member) for member, address in members.items())
    addresses = [{"ip": address, "hostname": member} for address, member in named]
    relabelings: list[dict[str, Any]] = [
        {"sourceLabels": _HOSTNAMES, "separator": "", "targetLabel": "member"},
        {"targetLabel": "cluster", "replacement": cluster_name},
    ]
    endpoint: dict[str, Any] = {"port": _PORTS[0], "relabelings": relabelings}
    machines = {
        "port": _PORTS[1],
        # These series have the labels `cluster` and `member` already.
        "honorLabels": True,
        "relabelings": [*relabelings, {"targetLabel": "job", "replacement": MACHINES_JOB}],
    }
    found = [
        document("Service", {"spec": {"clusterIP": "None", "ports": served}}),
        document("Endpoints", {"subsets": [{"addresses": addresses, "ports": served}]}),
    ]
    if client is not None:
        contents = {"ca.crt": ca_certificate, "tls.crt": client["certificate"], "tls.key": client["private_key"]}
        data = {key: b64encode(pem.encode()).decode() for key, pem in contents.items()}
        found.append(document("Secret", {"type": "kubernetes.io/tls", "data": data}, called=secret))
        endpoint |= {
            "scheme": "https",
            "tlsConfig": {
                "ca": {"secret": {"name": secret, "key": "ca.crt"}},
                "cert": {"secret": {"name": secret, "key": "tls.crt"}},
                "keySecret": {"name": secret, "key": "tls.key"},
            },
        }
    spec = {"selector": {"matchLabels": own}, "endpoints": [endpoint, machines][: len(served)]}
    own_kinds: dict[str, Any] = {"ServiceMonitor": spec, "PrometheusRule": {"groups": list(rules)}}
    for kind, wanted in own_kinds.items():
        found.append(document(kind, {"spec": wanted}, version="monitoring.coreos.com/v1"))
        found[-1]["metadata"]["labels"] |= labels
    return found
