"""The typed configuration of a stack. Preview reports all errors in it at once."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import config as runtime_config

from components import EtcdClusterArgs
from components.cluster import cluster_plan, with_authorities
from components.kubernetes.cluster_api import API_VERSIONS
from components.plan import ClusterPlan, PlanError, Problem, check_plan
from components.plan.errors import did_you_mean, shown
from components.plan.kubernetes import MONITORING, check_labels, check_workload_name
from components.plan.members import check_name
from components.plan.releases import check_headers
from components.plan.restore import check_identity, in_store
from components.plan.service_managers import check_image_credentials

from . import migration
from .arguments import arguments, camel_case
from .authorities import check_authorities
from .key_table import Table
from .keys import table
from .platform import Machines, Platform
from .platforms import PLATFORMS
from .reading import Reading
from .ssh_settings import SshLogin

NAMESPACE = "external-etcd"


class ConfigError(PlanError, pulumi.RunError):
    """The configuration is refused. Pulumi prints it without a stack trace."""

    def __init__(self, stack: str, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.stack = stack

    def __str__(self) -> str:
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        return f"The configuration of stack {self.stack} is refused (docs/reference.md explains every key):\n{lines}"


@dataclass(frozen=True)
class ClusterApiConfig:
    """The workload cluster of Cluster API."""

    cluster_name: str
    namespace: str
    api_version: str = API_VERSIONS[0]
    """Version of its KubeadmControlPlane."""


@dataclass(frozen=True)
class PrometheusOperatorConfig:
    """The objects for the Prometheus Operator."""

    namespace: str
    labels: Mapping[str, str]
    """Labels of the ServiceMonitor."""


@dataclass(frozen=True)
class StackConfig:
    """The whole configuration. `docs/reference.md` describes the keys."""

    platform: Platform
    cluster_name: str
    machines: Machines
    """The machines, in the platform's own type."""
    arguments: EtcdClusterArgs = field(repr=False)
    """The given arguments of `EtcdCluster`, without `members`. Secrets are in plain text."""
    table: Table = field(repr=False)
    """All keys."""
    cluster_api: ClusterApiConfig
    prometheus_operator: PrometheusOperatorConfig
    control_planes: Mapping[str, SshLogin] = field(default_factory=dict)
    """Control plane of a migration -> its login, which is not in the arguments."""
    warnings: tuple[str, ...] = ()
    """Warnings besides those of `plan.warnings`."""

    @property
    def plan(self) -> ClusterPlan:
        """The plan that `EtcdCluster` will make, without the digest of etcd-node."""
        machines = self.machines
        return cluster_plan(self.cluster_name, self.arguments, machines.members, generations=machines.generations)

    @property
    def previous(self) -> Mapping[str, Any] | None:
        """What the last update applied; None before the first. It does not come from the configuration."""
        return self.arguments.get("previous")

    def spelled(self, name: str) -> str:
        """The configuration key of an argument of `EtcdCluster`."""
        return self.machines.key if name == "members" else camel_case(name)


def load(
    stack: str,
    values: Mapping[str, str] | None = None,
    directory: Path | None = None,
    settings: Mapping[str, str] | None = None,
    platforms: Sequence[Platform] = PLATFORMS,
) -> StackConfig:
    """Reads and checks the configuration of a stack.

    Args:
        stack: name of the stack, the default name of the cluster.
        values: key without namespace -> text from Pulumi (objects as JSON). Default: those of the running program.
        directory: base of relative paths in the configuration. Default: the working directory, which is the project's
            directory when Pulumi runs the program.
        settings: other settings: full keys of providers, environment variables. Default: none with `values`, otherwise
            those of the running program.

    Raises:
        ConfigError: a PlanError with every problem of the configuration. It contains no secret.
    """
    keys = table(platforms)
    if values is None:
        values, settings = _pulumi_values(keys), settings or _pulumi_settings()
    reading = Reading(keys, stack, values, directory or Path(), settings or {})
    config = _config(reading, platforms)
    if reading.problems:
        raise ConfigError(stack, reading.problems)
    return config


def _pulumi_settings() -> dict[str, str]:
    """The environment, and every value of the stack by its full key."""
    return {**os.environ, **runtime_config.get_config_env(), **runtime_config.CONFIG.get()}


def _pulumi_values(keys: Table) -> dict[str, str]:
    """Every value in the program's namespace. Only the runtime's module knows which keys were given."""
    config = pulumi.Config(NAMESPACE)
    names = [key.split(":", 1)[1] for key in _pulumi_settings() if key.startswith(f"{NAMESPACE}:")]
    names += [key.name for key in keys.below("") if key.name not in names]
    return {name: value for name in names if (value := config.get(name)) is not None}


def _config(reading: Reading, platforms: Sequence[Platform]) -> StackConfig:
    """The configuration; valid only if the reading has no problem."""
    given, platform = reading.given, _platform(reading, platforms)
    machines = platform.read(reading)
    args = with_authorities({**arguments(reading), **migration.argument(reading)})
    if "backup" in args and machines.store:
        args = {**args, "backup": {**args["backup"], "s3": {**machines.store}}}  # type: ignore[typeddict-item]
    if "restore" in args:
        source = args["restore"].get("from", "")
        if source and not in_store(source):
            args = {**args, "restore": {**args["restore"], "from": str(reading.path(source))}}
    config = StackConfig(
        platform=platform,
        cluster_name=reading.cluster,
        machines=machines,
        arguments=args,
        table=reading.table,
        cluster_api=_cluster_api(reading),
        prometheus_operator=_prometheus_operator(reading),
        control_planes=migration.logins(reading),
        warnings=_warnings(given),
    )
    check_authorities(reading, config.arguments, config.plan)
    reading.problems += check_headers(given.get("releaseHeaders", {}), "releaseHeaders")
    reading.problems += check_identity(given.get("restore", {}).get("identity"), "restore.identity")
    credentials, image = given.get("etcdImageCredentials"), given.get("etcdImage")
    reading.problems += check_image_credentials(credentials, image, camel_case)
    reading.add(check_plan(config.plan, config.spelled))
    return config


def _platform(reading: Reading, platforms: Sequence[Platform]) -> Platform:
    """The configured platform; the first one if that is wrong."""
    names = {each.name: each for each in platforms}
    name = reading.given.get("platform", platforms[0].name)
    if name not in names:
        rule = f"The platform must be one of {', '.join(names)}"
        remedy = did_you_mean(name, names) or f"Set it to {platforms[0].name}"
        reading.refuse("platform", shown(name), rule, remedy)
        return platforms[0]
    # A key of another platform would silently have no effect.
    for other in platforms:
        for key in other.keys if other.name != name else ():
            if key.path in reading.given:
                remedy = f"Remove it, or set platform to {other.name}"
                reading.refuse(key.path, "a value", f"This key is for the platform {other.name}", remedy)
    return names[name]


def _cluster_api(reading: Reading) -> ClusterApiConfig:
    given = {
        "clusterName": reading.cluster,
        "namespace": "default",
        "apiVersion": API_VERSIONS[0],
        **reading.given.get("clusterApi", {}),
    }
    # Its default has been checked at its own key.
    if given["clusterName"] != reading.cluster:
        reading.problems += check_workload_name(given["clusterName"], "clusterApi.clusterName")
    reading.problems += check_name(given["namespace"], "clusterApi.namespace")
    if given["apiVersion"] not in API_VERSIONS:
        rule = f"The version of the KubeadmControlPlane must be one of {', '.join(API_VERSIONS)}"
        remedy = "Take the one that the KubeadmControlPlane has in the manifests of your cluster"
        reading.refuse("clusterApi.apiVersion", shown(given["apiVersion"]), rule, remedy)
    return ClusterApiConfig(given["clusterName"], given["namespace"], given["apiVersion"])


def _prometheus_operator(reading: Reading) -> PrometheusOperatorConfig:
    key = "prometheusOperator"
    given = {"namespace": MONITORING, "labels": {}, **reading.given.get(key, {})}
    if key in reading.given and not reading.given.get("prometheus"):
        reading.refuse(key, "an object", "There are no objects without prometheus", "Set prometheus to true")
    reading.problems += check_name(given["namespace"], f"{key}.namespace")
    reading.problems += check_labels(given["labels"], f"{key}.labels")
    return PrometheusOperatorConfig(given["namespace"], given["labels"])


def _warnings(given: Mapping[str, Any]) -> tuple[str, ...]:
    # Without a list, a CA is created.
    authorities = [*given.get("authorities", [{}]), *given.get("peerAuthorities", ())]
    own = authorities and all("certificate" in each for each in authorities)
    if own and "caValidityHours" in given.get("certificates", {}):
        return ("certificates.caValidityHours has no effect: all CAs are your own.",)
    return ()
