"""The program's configuration, typed: everything that can be wrong with it is said here, at preview, at once."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import config as runtime_config

from components.plan import (
    DEFAULT_AUTHORITY,
    DEFAULT_MIRROR,
    DEFAULT_VERSION,
    AuthorityPlan,
    ClusterPlan,
    MemberPlan,
    PlanError,
    Problem,
    UserPlan,
    check_plan,
)
from components.plan.addresses import check_name
from components.plan.authority import check_authority, check_different
from components.plan.errors import did_you_mean, shown
from components.plan.flags import DEFAULT_QUOTA, METRICS_LOOPBACK
from components.plan.hetzner import DEFAULT_USER
from components.plan.spec import DEFAULT_DATA_DIRECTORY
from components.plan.units import check_directory

from . import aws_config, hetzner_config
from .aws_config import AwsConfig
from .hetzner_config import HetznerConfig
from .keys import KEYS
from .reading import read, read_machines
from .ssh import check_host_key, check_private_key, is_host, public_key, read_private_key

NAMESPACE = "external-etcd"
PLATFORMS = ("hosts", "aws", "hetzner")


class ConfigError(PlanError, pulumi.RunError):
    """The configuration was refused. Pulumi prints it without a stack trace."""

    def __init__(self, stack: str, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.stack = stack

    def __str__(self) -> str:
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        return f"The configuration of stack {self.stack} is refused (docs/reference.md explains every key):\n{lines}"


@dataclass(frozen=True)
class BastionConfig:
    """The host through which machines are reached."""

    host: str
    host_key: str
    private_key: str = field(repr=False)
    user: str = "root"
    port: int = 22


@dataclass(frozen=True)
class SshConfig:
    """The way to one machine."""

    host: str
    host_key: str
    private_key: str = field(repr=False)
    user: str = "root"
    port: int = 22
    bastion: BastionConfig | None = None


@dataclass(frozen=True)
class MachineConfig:
    """One machine that exists."""

    name: str
    address: str
    ssh: SshConfig
    identity: str = ""
    data_directory: str = DEFAULT_DATA_DIRECTORY


@dataclass(frozen=True)
class CertificatesConfig:
    """Lifetimes of certificates, in hours."""

    validity_hours: int = 8760
    early_renewal_hours: int = 720
    ca_validity_hours: int = 87600


@dataclass(frozen=True)
class AuthorityConfig:
    """A certificate authority that is trusted; one that is made has neither certificate nor key here."""

    name: str
    certificate: str | None = None
    """PEM."""
    private_key: str | None = field(default=None, repr=False)
    """PEM."""


@dataclass(frozen=True)
class ClusterApiConfig:
    """The workload cluster of Cluster API."""

    cluster_name: str
    namespace: str


@dataclass(frozen=True)
class StackConfig:
    """The whole configuration, every default filled in. `docs/reference.md` describes the keys."""

    platform: str
    cluster_name: str
    version: str
    machines: tuple[MachineConfig, ...]
    """The machines that exist; none where a cloud makes them."""
    release_mirror: str
    release_sha256: Mapping[str, str]
    quota: str
    metrics: str
    flags: Mapping[str, str]
    heartbeat_interval_ms: int | None
    election_timeout_ms: int | None
    certificates: CertificatesConfig
    authorities: tuple[AuthorityConfig, ...]
    issuer: str
    cluster_api: ClusterApiConfig
    data_directory: str = DEFAULT_DATA_DIRECTORY
    aws: AwsConfig | None = None
    hetzner: HetznerConfig | None = None
    bastion: BastionConfig | None = None
    """The bastion that exists, for machines that a cloud makes."""
    members_key: str = "machines"
    """The key at which the members are given."""
    override: str = ""
    """What a refusal of the guard printed, to make that change all the same; empty: nothing."""
    authentication: bool = False
    """Whether etcd asks which user a client is."""
    users: tuple[UserPlan, ...] = ()
    """Clients beside the API servers."""
    previous: Mapping[str, Any] | None = None
    """What the last update left for this one; None before the first. Not from the configuration."""
    warnings: tuple[str, ...] = ()
    """What the user should know although it is no error; what `plan.warnings` says is not repeated here."""

    @property
    def generations(self) -> dict[str, int]:
        """Slot -> generation of the machine that is wanted in it; nothing where machines exist already."""
        cloud = self.aws or self.hetzner
        return {} if cloud is None else {slot.name: slot.generation for slot in cloud.plan.slots}

    @property
    def on_volumes(self) -> bool:
        """Whether etcd's data are on volumes that are made for them, and outlive their machines."""
        if self.aws is not None:
            return self.aws.plan.volume is not None
        return self.hetzner is not None and self.hetzner.plan.volume_size is not None


def load(
    stack: str, values: Mapping[str, str] | None = None, directory: Path | None = None, region: str | None = None
) -> StackConfig:
    """Reads and checks the configuration of a stack.

    Args:
        stack: name of the stack; the default name of the cluster.
        values: key without namespace -> text as Pulumi hands it over (objects as JSON). Default: the running program's.
        directory: what relative paths in the configuration are relative to. Default: the working directory, which is
            the project's directory when Pulumi runs the program.
        region: that of the AWS provider. Default: with `values`, not known; else what the provider has it from.

    Raises:
        ConfigError: a PlanError with every problem of the configuration; holds no secret.
    """
    if values is None:
        values, region = _pulumi_values(), region or _pulumi_region()
    loader = _Loader(stack, values, directory or Path(), region)
    config = loader.config()
    if loader.problems:
        raise ConfigError(stack, loader.problems)
    return config


def _pulumi_values() -> dict[str, str]:
    """Every value in the program's namespace. Which keys were given, only the runtime's own module knows."""
    config = pulumi.Config(NAMESPACE)
    full_keys = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    names = [key.split(":", 1)[1] for key in full_keys if key.startswith(f"{NAMESPACE}:")]
    names += [key.path for key in KEYS if "." not in key.path and key.path not in names]
    return {name: value for name in names if (value := config.get(name)) is not None}


def _pulumi_region() -> str | None:
    """The region of the AWS provider, unless a profile says it."""
    return pulumi.Config("aws").get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


class _Loader:
    """Collects problems while it makes the configuration; the result counts only when there is none."""

    def __init__(self, stack: str, values: Mapping[str, str], directory: Path, region: str | None) -> None:
        self._directory = directory
        self._region = region
        self._key_files: dict[Path, str] = {}
        self.problems: list[Problem] = []
        self._given = read(values, self.problems)
        self._stack = stack

    def config(self) -> StackConfig:
        given = self._given
        platform = given.get("platform", "hosts")
        if platform not in PLATFORMS:
            rule = f"Machines come from one of the platforms {', '.join(PLATFORMS)}"
            self._refuse("platform", shown(platform), rule, did_you_mean(platform, PLATFORMS) or "Set it to hosts")
        name = given.get("clusterName", self._stack)
        self._check_platform_keys(platform)
        machines: tuple[MachineConfig, ...] = ()
        aws = hetzner = bastion = None
        if platform == "aws":
            list_key = f"{aws_config.KEY}.slots"
            aws, bastion = self._aws(name)
        elif platform == "hetzner":
            list_key = f"{hetzner_config.KEY}.slots"
            hetzner, bastion = self._hetzner(name)
        else:
            machines, list_key = self._machines()
        certificates = self._certificates()
        authorities = self._authorities()
        issuer = given.get("issuer", authorities[0].name if authorities else "")
        self._check_own_authorities(authorities, issuer, certificates.validity_hours)
        config = StackConfig(
            platform=platform,
            cluster_name=name,
            version=given.get("version", DEFAULT_VERSION),
            machines=machines,
            release_mirror=given.get("releaseMirror", DEFAULT_MIRROR),
            release_sha256=given.get("releaseSha256", {}),
            quota=given.get("quota", DEFAULT_QUOTA),
            metrics=given.get("metrics", METRICS_LOOPBACK),
            flags=given.get("flags", {}),
            heartbeat_interval_ms=given.get("heartbeatIntervalMs"),
            election_timeout_ms=given.get("electionTimeoutMs"),
            certificates=certificates,
            authorities=authorities,
            issuer=issuer,
            cluster_api=self._cluster_api(name),
            data_directory=given.get("dataDirectory", DEFAULT_DATA_DIRECTORY),
            aws=aws,
            hetzner=hetzner,
            bastion=bastion,
            members_key=list_key,
            override=given.get("override", ""),
            authentication=given.get("authentication", False),
            users=tuple(
                UserPlan(each.get("name", ""), each.get("prefix", ""), each.get("permission", ""))
                for each in given.get("users", [])
            ),
            warnings=self._warnings(authorities),
        )
        # What could not even be read is a problem already.
        known = {problem.key for problem in self.problems}
        found = check_plan(cluster_plan(config), lambda name: spelled(config, name))
        self.problems += [problem for problem in found if problem.key not in known]
        return config

    def _check_platform_keys(self, platform: str) -> None:
        """Keys of another platform would have no effect, and whoever set them expects one."""
        for key, of in (
            ("machines", "hosts"),
            ("machinesFile", "hosts"),
            ("aws", "aws"),
            ("hetzner", "hetzner"),
        ):
            if key in self._given and platform in PLATFORMS and platform != of:
                self._refuse(
                    key, "a value", f"This key is for the platform {of}", f"Remove it, or set platform to {of}"
                )

    def _aws(self, cluster: str) -> tuple[AwsConfig | None, BastionConfig | None]:
        given = self._given.get("aws")
        if given is None:
            if not any(problem.key.startswith("aws") for problem in self.problems):
                rule = "The platform aws needs zones, an instance type and slots"
                self._refuse("aws", "nothing", rule, "Copy it from Pulumi.aws.yaml")
            return None, None
        private, public, bastion = self._operator()
        plan = aws_config.read_aws(
            given, cluster, region=self._region, other_bastion=bastion is not None, problems=self.problems
        )
        if not (plan.public_ipv4 or plan.nat_gateway or plan.vpc_id or "releaseMirror" in self._given):
            rule = "Machines without a way out fetch etcd from a mirror within reach"
            remedy = "Set it to one in the VPC, or aws.natGateway to true"
            self._refuse("releaseMirror", "nothing", rule, remedy)
        volume = given.get("volume", {})
        config = AwsConfig(
            plan=plan,
            protect_volume=volume.get("protect", True),
            kms_key_id=volume.get("kmsKeyId"),
            instance_profile=given.get("instanceProfile"),
            user=self._given.get("ssh", {}).get("user", DEFAULT_USER),
            private_key=private,
            public_key=public,
        )
        return config, bastion

    def _hetzner(self, cluster: str) -> tuple[HetznerConfig | None, BastionConfig | None]:
        given = self._given.get("hetzner")
        if given is None:
            if not any(problem.key.startswith("hetzner") for problem in self.problems):
                rule = "The platform hetzner needs a location, a server type and slots"
                self._refuse("hetzner", "nothing", rule, "Copy it from Pulumi.hetzner.yaml")
            return None, None
        private, public, bastion = self._operator()
        plan = hetzner_config.read_hetzner(given, cluster, other_bastion=bastion is not None, problems=self.problems)
        config = HetznerConfig(
            plan=plan,
            network_id=given.get("networkId"),
            protect_volume=given.get("volume", {}).get("protect", True),
            ssh_keys=tuple(given.get("sshKeys", ())),
            user=self._given.get("ssh", {}).get("user", DEFAULT_USER),
            private_key=private,
            public_key=public,
        )
        return config, bastion

    def _operator(self) -> tuple[str, str, BastionConfig | None]:
        """Private and public key of the operator of machines that a cloud makes, and the bastion that exists."""
        self.problems += check_directory(self._given.get("dataDirectory", DEFAULT_DATA_DIRECTORY), "dataDirectory")
        defaults = self._given.get("ssh", {})
        self._check_way(defaults, "ssh")
        self._check_shared_key(defaults)
        own = "privateKeyFile" in defaults or "sshPrivateKey" in self._given
        private = self._private_key(defaults, "ssh") if own else ""
        public = public_key(private) if private else None
        if private and public is None:
            key = "ssh.privateKeyFile" if "privateKeyFile" in defaults else "sshPrivateKey"
            rule = "The operator's key for machines that are made is in OpenSSH format, which holds its public half"
            self._refuse(key, "a key in another format", rule, "Convert a copy with: ssh-keygen -p -f COPY")
        if "port" in defaults:
            rule = "Machines that are made here have sshd at port 22"
            self._refuse("ssh.port", shown(defaults["port"]), rule, "Remove it")
        bastion = self._bastion(defaults["bastion"], private) if "bastion" in defaults else None
        return private, public or "", bastion

    def _bastion(self, given: Mapping[str, Any], private_key: str) -> BastionConfig:
        if "privateKeyFile" in given:
            private_key = self._private_key(given, "ssh.bastion")
        elif not private_key:
            rule = "A bastion that exists is reached with a key that it knows"
            self._refuse("ssh.bastion.privateKeyFile", "nothing", rule, "Set it, or ssh.privateKeyFile for all")
        return BastionConfig(
            host=given.get("host", ""),
            host_key=given.get("hostKey", "").strip(),
            private_key=private_key,
            user=given.get("user", "root"),
            port=given.get("port", 22),
        )

    def _machines(self) -> tuple[tuple[MachineConfig, ...], str]:
        """The machines, and the key at which they are given."""
        given, at = self._given.get("machines"), "machines"
        file = self._given.get("machinesFile")
        if file is not None and given is not None:
            self._refuse(
                "machinesFile", shown(file), "Machines are in machines or in machinesFile", "Remove one of the two"
            )
        elif file is not None:
            given, at = self._machines_file(file), f"{file}: machines"
        elif given is None and not any(problem.key.startswith("machines") for problem in self.problems):
            rule = "The machines are in machines, or in the file that machinesFile names"
            self._refuse("machines", "nothing", rule, "Set one of the two; README.md has an example")
        if given is None:
            # Why is a problem already. Under its key, the plan's complaint about zero members is not said again.
            return (), self.problems[-1].key
        directory = self._given.get("dataDirectory", DEFAULT_DATA_DIRECTORY)
        wrong = check_directory(directory, "dataDirectory")
        self.problems += wrong
        defaults = self._given.get("ssh", {})
        self._check_way(defaults, "ssh")
        self._check_shared_key(defaults)
        machines = tuple(
            MachineConfig(
                name=machine.get("name", ""),
                address=machine.get("address", ""),
                ssh=self._ssh(machine, defaults, f"{at}[{index}]"),
                identity=machine.get("identity", ""),
                data_directory=machine.get("dataDirectory", DEFAULT_DATA_DIRECTORY if wrong else directory),
            )
            for index, machine in enumerate(given)
        )
        self._check_ways_differ(machines, at)
        return machines, at

    def _machines_file(self, file: str) -> list[Any] | None:
        try:
            document = json.loads(self._path(file).read_text(encoding="utf-8"))
        except OSError as error:
            remedy = "Correct the path; for the machines of the lab, run: python3 -m lab up"
            self._refuse("machinesFile", shown(file), f"The file can be read: {error.strerror}", remedy)
        except ValueError:
            self._refuse("machinesFile", shown(file), "The file holds JSON", "See docs/reference.md")
        else:
            return read_machines(document, file, self.problems)
        return None

    def _ssh(self, machine: Mapping[str, Any], defaults: Mapping[str, Any], at: str) -> SshConfig:
        own = machine.get("ssh", {})
        self._check_way(own, f"{at}.ssh")
        way = {**defaults, **own}
        key = self._private_key(way, f"{at}.ssh" if "privateKeyFile" in own else "ssh")
        bastion = way.get("bastion")
        return SshConfig(
            host=own.get("host", machine.get("address", "")),
            host_key=own.get("hostKey", "").strip(),
            private_key=key,
            user=way.get("user", "root"),
            port=way.get("port", 22),
            bastion=None
            if bastion is None
            else BastionConfig(
                host=bastion.get("host", ""),
                host_key=bastion.get("hostKey", "").strip(),
                private_key=self._private_key(
                    {"privateKeyFile": bastion.get("privateKeyFile", way.get("privateKeyFile"))},
                    f"{at}.ssh.bastion" if "bastion" in own else "ssh.bastion",
                ),
                user=bastion.get("user", "root"),
                port=bastion.get("port", 22),
            ),
        )

    def _check_shared_key(self, defaults: Mapping[str, Any]) -> None:
        if "sshPrivateKey" not in self._given:
            return
        self.problems += check_private_key(self._given["sshPrivateKey"], "sshPrivateKey")
        if "privateKeyFile" in defaults:
            rule = "The key for all machines is in sshPrivateKey or in ssh.privateKeyFile"
            self._refuse("ssh.privateKeyFile", shown(defaults["privateKeyFile"]), rule, "Remove one of the two")

    def _private_key(self, way: Mapping[str, Any], at: str) -> str:
        file = way.get("privateKeyFile")
        if file is None:
            shared: str | None = self._given.get("sshPrivateKey")
            if (
                shared is None
                and not self._has_problem("ssh.privateKeyFile")
                and not self._has_problem("sshPrivateKey")
            ):
                rule = "Each machine is reached with a private ssh key"
                self._refuse("ssh.privateKeyFile", "nothing", rule, "Set it, or sshPrivateKey, or that of each machine")
            return shared or ""
        path = self._path(file)
        if path not in self._key_files:
            # Once, however many machines share the file.
            self._key_files[path], found = read_private_key(path, file, f"{at}.privateKeyFile")
            self.problems += found
        return self._key_files[path]

    def _check_way(self, way: Mapping[str, Any], at: str) -> None:
        """Checks what is given at one place about a way in."""
        if "host" in way and not is_host(way["host"]):
            rule = "A host is a name or an IP address, without port or brackets"
            self._refuse(f"{at}.host", shown(way["host"]), rule, "Give the port as port")
        if "user" in way and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", way["user"], re.ASCII):
            self._refuse(f"{at}.user", shown(way["user"]), "A login is a user's name", "Give root, or one with sudo")
        if "port" in way and not 1 <= way["port"] <= 65535:
            self._refuse(f"{at}.port", shown(way["port"]), "A TCP port is 1 to 65535", "Leave it out for 22")
        if "hostKey" in way:
            self.problems += check_host_key(way["hostKey"], f"{at}.hostKey")
        if "bastion" in way:
            self._check_way(way["bastion"], f"{at}.bastion")

    def _check_ways_differ(self, machines: Sequence[MachineConfig], at: str) -> None:
        seen: dict[tuple[object, ...], str] = {}
        for index, machine in enumerate(machines):
            ssh = machine.ssh
            key = f"{at}[{index}].ssh.host"
            first = seen.setdefault((ssh.host, ssh.port, ssh.bastion and ssh.bastion.host), key)
            # The same address twice is said already.
            if first != key and ssh.host != machine.address:
                rule = f"No two machines are reached at the same host and port; {first} is the same"
                self._refuse(key, shown(ssh.host), rule, "Correct one of them")

    def _certificates(self) -> CertificatesConfig:
        given = self._given.get("certificates", {})
        lifetimes = CertificatesConfig(**{_snake_case(name): hours for name, hours in given.items()})
        validity, early = lifetimes.validity_hours, lifetimes.early_renewal_hours
        for name, hours in given.items():
            if hours < 1:
                self._refuse(f"certificates.{name}", shown(hours), "A lifetime is at least one hour", "Leave it out")
        if min(validity, early, lifetimes.ca_validity_hours) < 1:
            return lifetimes
        if validity <= early:
            rule = f"Renewal begins within the lifetime: {early} hours before the end of {validity}"
            remedy = "Set earlyRenewalHours to a third of validityHours or less"
            self._refuse("certificates.earlyRenewalHours", shown(early), rule, remedy)
        made = any("certificate" not in each for each in self._given.get("authorities", [{}]))
        if made and lifetimes.ca_validity_hours <= validity:
            rule = f"The authority outlives the certificates that it issues, valid for {validity} hours"
            self._refuse("certificates.caValidityHours", shown(lifetimes.ca_validity_hours), rule, "Set it higher")
        return lifetimes

    def _authorities(self) -> tuple[AuthorityConfig, ...]:
        given = self._given.get("authorities", [{"name": DEFAULT_AUTHORITY}])
        return tuple(
            AuthorityConfig(each.get("name", ""), each.get("certificate"), each.get("privateKey")) for each in given
        )

    def _check_own_authorities(self, authorities: Sequence[AuthorityConfig], issuer: str, validity_hours: int) -> None:
        """Checks what is in the user's certificates; who is missing what is a question of the plan."""
        own: dict[str, str] = {}
        for index, authority in enumerate(authorities):
            if authority.certificate is None:
                continue
            at = f"authorities[{index}]"
            found = check_authority(
                authority.certificate,
                authority.private_key,
                validity_hours,
                key=at,
                issues=authority.name == issuer,
                private_key_name="privateKey",
            )
            self.problems += found
            if not found:
                own[f"{at}.certificate"] = authority.certificate
        self.problems += check_different(own)

    def _cluster_api(self, cluster_name: str) -> ClusterApiConfig:
        given = self._given.get("clusterApi", {})
        for name in given:
            self.problems += check_name(given[name], f"clusterApi.{name}")
        return ClusterApiConfig(given.get("clusterName", cluster_name), given.get("namespace", "default"))

    def _warnings(self, authorities: Sequence[AuthorityConfig]) -> tuple[str, ...]:
        own = authorities and all(authority.certificate is not None for authority in authorities)
        if own and "caValidityHours" in self._given.get("certificates", {}):
            return ("certificates.caValidityHours has no effect on a certificate authority of one's own.",)
        return ()

    def _path(self, given: str) -> Path:
        return self._directory / Path(given).expanduser()

    def _has_problem(self, key: str) -> bool:
        return any(problem.key == key for problem in self.problems)

    def _refuse(self, key: str, value: str, rule: str, remedy: str) -> None:
        self.problems.append(Problem(key, value, rule, remedy))


def cluster_plan(config: StackConfig) -> ClusterPlan:
    """The cluster as `EtcdCluster` is going to plan it, without the program that its machines get."""
    return ClusterPlan(
        name=config.cluster_name,
        members=_members(config),
        program="",
        version=config.version,
        release_mirror=config.release_mirror,
        release_sha256=config.release_sha256,
        quota=config.quota,
        metrics=config.metrics,
        flags=config.flags,
        heartbeat_interval_ms=config.heartbeat_interval_ms,
        election_timeout_ms=config.election_timeout_ms,
        authorities=[
            AuthorityPlan(each.name, each.certificate is not None, each.private_key is not None)
            for each in config.authorities
        ],
        issuer=config.issuer,
        authentication=config.authentication,
        users=config.users,
    )


def spelled(config: StackConfig, name: str) -> str:
    """The key for an argument of `EtcdCluster`."""
    return config.members_key if name == "members" else _camel_case(name)


def _members(config: StackConfig) -> list[MemberPlan]:
    cloud = config.aws or config.hetzner
    if cloud is None:
        return [MemberPlan(machine.name, machine.address, machine.data_directory) for machine in config.machines]
    addresses = cloud.plan.addresses
    # Why a slot has no address is a problem already.
    return [MemberPlan(slot.name, addresses.get(slot.name, ""), config.data_directory) for slot in cloud.plan.slots]


def _camel_case(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _snake_case(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)
