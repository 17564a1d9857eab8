"""The program's configuration, typed: everything that can be wrong with it is said here, at preview, at once."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import config as runtime_config

from components import EtcdClusterArgs
from components.cluster import cluster_plan
from components.plan import ClusterPlan, PlanError, Problem, check_plan
from components.plan.errors import did_you_mean, shown
from components.plan.members import check_name
from components.plan.releases import check_headers

from .arguments import arguments, camel_case
from .authorities import check_authorities
from .keys import table
from .platform import Machines, Platform
from .platforms import PLATFORMS
from .reading import Reading
from .table import Table

NAMESPACE = "external-etcd"


class ConfigError(PlanError, pulumi.RunError):
    """The configuration was refused. Pulumi prints it without a stack trace."""

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


@dataclass(frozen=True)
class StackConfig:
    """The whole configuration. `docs/reference.md` describes the keys."""

    platform: Platform
    cluster_name: str
    machines: Machines
    """What its platform says of the machines, of the platform's own type."""
    arguments: EtcdClusterArgs = field(repr=False)
    """The arguments of `EtcdCluster` as far as they are given, without `members`; secrets in the clear."""
    table: Table = field(repr=False)
    """The keys that there are."""
    cluster_api: ClusterApiConfig
    warnings: tuple[str, ...] = ()
    """What the user should know although it is no error; what `plan.warnings` says is not repeated here."""

    @property
    def plan(self) -> ClusterPlan:
        """The cluster as `EtcdCluster` is going to plan it, without the program that its machines get."""
        return cluster_plan(self.cluster_name, self.arguments, self.machines.members)

    @property
    def previous(self) -> Mapping[str, Any] | None:
        """What the last update left for this one; None before the first. Not from the configuration."""
        return self.arguments.get("previous")

    def spelled(self, name: str) -> str:
        """The key for an argument of `EtcdCluster`."""
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
        stack: name of the stack; the default name of the cluster.
        values: key without namespace -> text as Pulumi hands it over (objects as JSON). Default: the running program's.
        directory: what relative paths in the configuration are relative to. Default: the working directory, which is
            the project's directory when Pulumi runs the program.
        settings: what else decides: full keys of providers, variables of the environment. Default: with `values`,
            nothing; else the running program's.
        platforms: those that may be named.

    Raises:
        ConfigError: a PlanError with every problem of the configuration; holds no secret.
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
    """Every value in the program's namespace. Which keys were given, only the runtime's own module knows."""
    config = pulumi.Config(NAMESPACE)
    names = [key.split(":", 1)[1] for key in _pulumi_settings() if key.startswith(f"{NAMESPACE}:")]
    names += [key.name for key in keys.below("") if key.name not in names]
    return {name: value for name in names if (value := config.get(name)) is not None}


def _config(reading: Reading, platforms: Sequence[Platform]) -> StackConfig:
    """The configuration; counts only when the reading has no problem."""
    given, platform = reading.given, _platform(reading, platforms)
    machines = platform.read(reading)
    config = StackConfig(
        platform=platform,
        cluster_name=reading.cluster,
        machines=machines,
        arguments=arguments(reading),
        table=reading.table,
        cluster_api=_cluster_api(reading),
        warnings=_warnings(given),
    )
    check_authorities(reading, config.arguments, config.plan)
    reading.problems += check_headers(given.get("releaseHeaders", {}), "releaseHeaders")
    reading.add(check_plan(config.plan, config.spelled))
    return config


def _platform(reading: Reading, platforms: Sequence[Platform]) -> Platform:
    """The platform that is named; the first one where that is wrong."""
    names = {each.name: each for each in platforms}
    name = reading.given.get("platform", platforms[0].name)
    if name not in names:
        rule = f"Machines come from one of the platforms {', '.join(names)}"
        remedy = did_you_mean(name, names) or f"Set it to {platforms[0].name}"
        reading.refuse("platform", shown(name), rule, remedy)
        return platforms[0]
    # Keys of another platform would have no effect, and whoever set them expects one.
    for other in platforms:
        for key in other.keys if other.name != name else ():
            if key.path in reading.given:
                remedy = f"Remove it, or set platform to {other.name}"
                reading.refuse(key.path, "a value", f"This key is for the platform {other.name}", remedy)
    return names[name]


def _cluster_api(reading: Reading) -> ClusterApiConfig:
    given = reading.given.get("clusterApi", {})
    for name in given:
        reading.problems += check_name(given[name], f"clusterApi.{name}")
    return ClusterApiConfig(given.get("clusterName", reading.cluster), given.get("namespace", "default"))


def _warnings(given: Mapping[str, Any]) -> tuple[str, ...]:
    # Without a list, one is made.
    authorities = [*given.get("authorities", [{}]), *given.get("peerAuthorities", ())]
    own = authorities and all("certificate" in each for each in authorities)
    if own and "caValidityHours" in given.get("certificates", {}):
        return ("certificates.caValidityHours has no effect on a certificate authority of one's own.",)
    return ()
