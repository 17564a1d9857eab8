"""The Kubernetes that uses the cluster: its version, the names that Cluster API derives from its name, and labels."""

import re
from collections.abc import Mapping

from . import members
from .errors import Problem, shown

# kubeadm reads kubeadm.k8s.io/v1beta3 from 1.22 on and v1beta4 from 1.31 on; 1.37 no longer reads v1beta3.
_OLDEST = 22
_FIRST_V1BETA4 = 31
# The newest kubeadm whose source was read. All until then accept every etcd that this project installs: their
# MinExternalEtcdVersion (cmd/kubeadm/app/constants) is at most 3.5.24, and there is no upper limit.
_NEWEST = 37

MONITORING = "monitoring"
"""Default namespace of the objects for the Prometheus Operator."""
_LABEL_NAME = re.compile(
    r"([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?", re.ASCII
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_VERSION = re.compile(r"1\.(0|[1-9]\d?)(\.(0|[1-9]\d{0,2}))?", re.ASCII)


def check_kubernetes_version(text: object, key: str = "kubernetes_version") -> list[Problem]:
    """Why no configuration can be written for this version of Kubernetes; empty when it can."""
    match = _VERSION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        remedy = "Write it like 1.36 or 1.36.3"
        if isinstance(text, str) and _VERSION.fullmatch(text.strip().removeprefix("v")):
            remedy = f"Write {text.strip().removeprefix('v')}"
        return [Problem(key, shown(text), "A version of Kubernetes must be written 1.Y or 1.Y.Z, without a v", remedy)]
    if int(match[1]) >= _OLDEST:
        return []
    remedy = f"Choose 1.{_OLDEST} or newer"
    if len(match[1]) == 1 and not match[2] and int(match[1]) * 10 >= _OLDEST:
        remedy = f"If 1.{match[1]}0 is meant, put it in quotes: YAML reads it as the number {text}"
    return [Problem(key, shown(text), f"kubeadm must be 1.{_OLDEST} or newer to read kubeadm.k8s.io/v1beta3", remedy)]


def kubernetes_warnings(version: str) -> list[str]:
    """Warnings about an accepted version of Kubernetes, in complete sentences."""
    if _minor(version) <= _NEWEST:
        return []
    return [
        f"Kubernetes {version} is newer than 1.{_NEWEST}, the newest whose kubeadm is known to accept every etcd that "
        "this program installs. It checks the version itself (ExternalEtcdVersion) before it changes anything; if it "
        "refuses, upgrade etcd first."
    ]


def kubeadm_api(version: str | None) -> str:
    """The `apiVersion` of kubeadm's configuration for an accepted version of Kubernetes; None: a current one."""
    old = version is not None and _minor(version) < _FIRST_V1BETA4
    return f"kubeadm.k8s.io/{'v1beta3' if old else 'v1beta4'}"


def release(version: str | None) -> str | None:
    """The release `v1.Y.Z` that an accepted version names; None if it names only a minor version, or nothing."""
    return f"v{version}" if version is not None and version.count(".") == 2 else None


def check_workload_name(name: object, key: str) -> list[Problem]:
    """Why a `Cluster` of Cluster API cannot have this name; empty when it can."""
    # Stricter than the API server, which allows dots: machines and load balancers of the clouds have the name, too.
    rule = (
        "The Secrets <name>-etcd and <name>-apiserver-etcd-client, machines and load balancers get their names from "
        "it, so it must be a DNS label (RFC 1123): 1 to 63 of a-z, 0-9 and -, no - at either end"
    )
    return [Problem(each.key, each.value, rule, each.remedy) for each in members.check_name(name, key)]


def check_labels(labels: Mapping[str, str], key: str) -> list[Problem]:
    """Why an object cannot have these labels; empty when it can."""
    rule = (
        "The name and the value of a label must be 1 to 63 letters, digits, dashes, underscores or dots, with a letter "
        "or digit at both ends; a name can have a DNS name and a slash before it, and a value can be empty"
    )
    return [
        Problem(f"{key}.{name}", shown(value), rule, "Write it as the Prometheus object's serviceMonitorSelector does")
        for name, value in labels.items()
        if not _LABEL_NAME.fullmatch(name) or not _LABEL_VALUE.fullmatch(value)
    ]


def _minor(version: str) -> int:
    return int(version.split(".")[1])
