"""A workload cluster of Cluster API: its CRDs and templates, and the outputs that are merged into its objects."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from components.kubernetes import cluster_api
from tools.cluster_api import TEMPLATE, ensure_cluster_api

NAME = "production"
_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io"
# The documented fields of what is exported, and no others.
_NETWORK = {"enabled": "boolean", **dict.fromkeys(("cidrBlock", "subnetCidrBlock", "networkZone"), "string")}
_HETZNER_SPEC = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {
        "hcloudNetwork": {"type": "object", "properties": {name: {"type": kind} for name, kind in _NETWORK.items()}}
    },
}
# With the variables of the provider's flavor `hcloud-network`, and little else.
_HETZNER = """\
apiVersion: infrastructure.cluster.x-k8s.io/v1beta1
kind: HetznerCluster
metadata:
  name: ${CLUSTER_NAME}
spec:
  hcloudNetwork: {enabled: true}
  controlPlaneRegions: ["${HCLOUD_REGION}"]
  sshKeys: {hcloud: [{name: "${SSH_KEY_NAME}"}]}
  hetznerSecretRef: {name: hcloud, key: {hcloudToken: hcloud}}
---
apiVersion: infrastructure.cluster.x-k8s.io/v1beta1
kind: HCloudMachineTemplate
metadata:
  name: ${CLUSTER_NAME}-control-plane
spec:
  template: {spec: {type: "${HCLOUD_CONTROL_PLANE_MACHINE_TYPE}"}}
---
apiVersion: infrastructure.cluster.x-k8s.io/v1beta1
kind: HCloudMachineTemplate
metadata:
  name: ${CLUSTER_NAME}-md-0
spec:
  template: {spec: {type: "${HCLOUD_WORKER_MACHINE_TYPE}"}}
---
apiVersion: controlplane.cluster.x-k8s.io/v1beta2
kind: KubeadmControlPlane
metadata:
  name: ${CLUSTER_NAME}-control-plane
spec:
  replicas: ${CONTROL_PLANE_MACHINE_COUNT}
  version: ${KUBERNETES_VERSION}
  machineTemplate:
    spec:
      infrastructureRef:
        apiGroup: infrastructure.cluster.x-k8s.io
        kind: HCloudMachineTemplate
        name: ${CLUSTER_NAME}-control-plane
  kubeadmConfigSpec:
    clusterConfiguration: {etcd: {local: {dataDir: /var/lib/etcd}}}
"""
CLUSTERCTL = r"""
clusterctl() {
    case "$1 $2" in
    "generate cluster") python3 - "$@" <<'END'
import os, re, sys
options = dict(zip(sys.argv[4::2], sys.argv[5::2]))
values = {**os.environ, "CLUSTER_NAME": sys.argv[3]}
for name in ("KUBERNETES_VERSION", "CONTROL_PLANE_MACHINE_COUNT", "WORKER_MACHINE_COUNT"):
    values[name] = options["--" + name.lower().replace("_", "-")]
default = lambda found: values[found[1]] if found[2] is None else values.get(found[1], found[2])
text = re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", default, open("template").read())
print(re.sub(r"(?m)^metadata:$", "metadata:\n  namespace: " + options["--target-namespace"], text))
END
    ;;
    "get kubeconfig") cat "$KUBECONFIG" ;;
    esac
}
"""
"""A stand-in: it fills in the file `template`, and the workload cluster is the management cluster itself."""


def crds() -> str:
    """Those of Cluster API and its provider for AWS; for Hetzner, only with the documented fields that are exported."""
    found = [path.read_text() for path in ensure_cluster_api() if path.suffix == ".yaml" and path.name != TEMPLATE]
    kinds = {"hetznerclusters": "HetznerCluster", "hcloudmachinetemplates": "HCloudMachineTemplate"}
    return "\n---\n".join([*found, *(yaml.safe_dump(_hetzner_crd(*each)) for each in kinds.items())])


def template(infrastructure: str) -> str:
    """What `clusterctl generate cluster` fills in: the provider's own one for `aws`, a short one for `hetzner`."""
    if infrastructure == "hetzner":
        return _HETZNER
    return next(path for path in ensure_cluster_api() if path.name == TEMPLATE).read_text()


def _hetzner_crd(plural: str, kind: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": _HETZNER_SPEC}}
    version = {"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{_INFRASTRUCTURE}"},
        "spec": {"group": _INFRASTRUCTURE, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def control_plane(namespace: str, endpoints: Sequence[str], version: str) -> str:
    """The output `cluster_api_control_plane`."""
    return cluster_api.text(cluster_api.control_plane(NAME, namespace, endpoints, version))


def infrastructure(kind: str, namespace: str) -> str:
    """The output `cluster_api_infrastructure` of a stack on `aws` or `hetzner`."""
    if kind == "hetzner":
        ranges = {"network_range": "10.1.0.0/16", "subnet_range": "10.1.1.0/24"}
        return cluster_api.text(*cluster_api.hetzner_cluster(NAME, namespace, **ranges, zone="eu-central"))
    made = cluster_api.aws_cluster(
        NAME,
        namespace,
        vpc_id="vpc-0123456789abcdef0",
        subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        clients_group_id="sg-0123456789abcdef0",
        public=True,
    )
    return cluster_api.text(*made)


def objects(output: str) -> list[dict[str, Any]]:
    """The objects in an output for Cluster API, or in what kubectl prints."""
    found = json.loads(output)
    return list(found.get("items", [found]))


def holds(found: Any, part: Any) -> bool:
    """Whether an object has everything that a part of it has; null in the part means that the object has it not."""
    if isinstance(part, list):
        return isinstance(found, list) and len(found) == len(part) and all(map(holds, found, part))
    if not isinstance(part, Mapping):
        return bool(found == part)
    absent = {name for name, value in part.items() if value is None}
    return not absent & found.keys() and all(holds(found.get(name), part[name]) for name in part.keys() - absent)
