"""The program's configuration, typed: everything that can be wrong with it is said here, at preview, at once."""

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
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
from components.plan.ranges import check_sources
from components.plan.releases import check_headers
from components.plan.spec import DEFAULT_DATA_DIRECTORY
from components.plan.sizes import check_directory

from . import aws_config, hetzner_config
from .aws_config import AwsConfig
from .hetzner_config import HetznerConfig
from .keys import KEYS
from .reading import read, read_machines
from .ssh import (
    check_host_key,
    check_private_key,
    check_public_key,
    has_passphrase,
    is_host,
    public_key,
    read_private_key,
)

NAMESPACE = "external-etcd"
_LOGIN = ("privateKeyFile", "privateKeyPassphrase", "agent")
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
    """Empty: in the ssh agent."""
    user: str = "root"
    port: int = 22
    passphrase: str = field(default="", repr=False)
    """Of the private key; empty: it has none."""


@dataclass(frozen=True)
class SshConfig:
    """The way to one machine."""

    host: str
    host_key: str
    private_key: str = field(repr=False)
    """Empty: in the ssh agent."""
    user: str = "root"
    port: int = 22
    passphrase: str = field(default="", repr=False)
    """Of the private key; empty: it has none."""
    sftp: bool = True
    bastion: BastionConfig | None = None


@dataclass(frozen=True)
class MachineConfig:
    """One machine that exists."""

    name: str
    address: str
    ssh: SshConfig
    identity: str = ""
    data_directory: str = DEFAULT_DATA_DIRECTORY
    extra_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class FirewallConfig:
    """Who reaches the ports of machines that exist, beside the members; in ranges."""

    clients: tuple[str, ...]
    metrics_clients: tuple[str, ...] = ()


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

    @property
    def plan(self) -> AuthorityPlan:
        """What is known of it without its certificate."""
        return AuthorityPlan(self.name, self.certificate is not None, self.private_key is not None)


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
    peer_authorities: tuple[AuthorityConfig, ...] | None
    """None: as the configuration does not say it, the guard does, which knows whether the cluster exists."""
    peer_issuer: str
    cluster_api: ClusterApiConfig
    data_directory: str = DEFAULT_DATA_DIRECTORY
    firewall: FirewallConfig | None = None
    """None: machines that exist filter nothing."""
    release_proxy: str | None = None
    release_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_names: tuple[str, ...] = ()
    """Names in every server certificate beside the member's own."""
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
    def origins(self) -> dict[str, dict[str, str]]:
        """Slot -> where its machine comes from; nothing where machines exist already."""
        if self.aws is not None:
            return self.aws.plan.origins
        return {} if self.hetzner is None else self.hetzner.plan.origins(self.hetzner.network_id)

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
        self._key_files: dict[tuple[Path, str], str] = {}
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
        authorities = self._authorities("authorities")
        issuer = given.get("issuer", authorities[0].name if authorities else "")
        peers = self._authorities("peerAuthorities") if "peerAuthorities" in given else None
        peer_issuer = given.get("peerIssuer", peers[0].name if peers else "")
        if peers is None and peer_issuer:
            rule = "The CA that issues the peer certificates must be one of peerAuthorities"
            self._refuse("peerIssuer", shown(peer_issuer), rule, "Set peerAuthorities, or remove it")
        self._check_own_authorities(authorities, peers or (), {issuer, peer_issuer}, certificates.validity_hours)
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
            peer_authorities=peers,
            peer_issuer=peer_issuer,
            cluster_api=self._cluster_api(name),
            data_directory=given.get("dataDirectory", DEFAULT_DATA_DIRECTORY),
            firewall=self._firewall(),
            extra_names=tuple(given.get("extraNames", ())),
            release_proxy=given.get("releaseProxy"),
            release_headers=given.get("releaseHeaders", {}),
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
            warnings=self._warnings([*authorities, *(peers or ())]),
        )
        self.problems += check_headers(config.release_headers, "releaseHeaders")
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
            ("firewall", "hosts"),
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
        key, bastion = self._operator()
        plan = aws_config.read_aws(
            given, cluster, region=self._region, other_bastion=bastion is not None, problems=self.problems
        )
        elsewhere = {"releaseMirror", "releaseProxy"} & set(self._given)
        if not (plan.public_ipv4 or plan.nat_gateway or plan.vpc_id or elsewhere):
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
            **key,
        )
        return config, bastion

    def _hetzner(self, cluster: str) -> tuple[HetznerConfig | None, BastionConfig | None]:
        given = self._given.get("hetzner")
        if given is None:
            if not any(problem.key.startswith("hetzner") for problem in self.problems):
                rule = "The platform hetzner needs a location, a server type and slots"
                self._refuse("hetzner", "nothing", rule, "Copy it from Pulumi.hetzner.yaml")
            return None, None
        key, bastion = self._operator()
        plan = hetzner_config.read_hetzner(given, cluster, other_bastion=bastion is not None, problems=self.problems)
        if plan.public_ipv6 and not plan.public_ipv4 and not {"releaseMirror", "releaseProxy"} & set(self._given):
            rule = "Machines whose only public address is IPv6 do not reach GitHub, which has none"
            remedy = (
                "Set it to a mirror that has one or is in the network, or releaseProxy, or hetzner.publicIpv4: true"
            )
            self._refuse("releaseMirror", "nothing", rule, remedy)
        config = HetznerConfig(
            plan=plan,
            network_id=given.get("networkId"),
            protect_volume=given.get("volume", {}).get("protect", True),
            ssh_keys=tuple(given.get("sshKeys", ())),
            user=self._given.get("ssh", {}).get("user", DEFAULT_USER),
            **key,
        )
        return config, bastion

    def _operator(self) -> tuple[dict[str, str], BastionConfig | None]:
        """The operator's own key for machines that a cloud makes, as fields of the cloud's configuration.

        And the bastion that exists.
        """
        self.problems += check_directory(self._given.get("dataDirectory", DEFAULT_DATA_DIRECTORY), "dataDirectory")
        defaults = self._given.get("ssh", {})
        self._check_way(defaults, "ssh")
        self._check_shared_key(defaults)
        own = "privateKeyFile" in defaults or "sshPrivateKey" in self._given
        private, passphrase = self._login(defaults, "ssh") if own else ("", "")
        public = public_key(private) if private else self._public_key(defaults)
        if private and public is None:
            key = "ssh.privateKeyFile" if "privateKeyFile" in defaults else "sshPrivateKey"
            rule = "The operator's key for machines that are made is in OpenSSH format, which holds its public half"
            self._refuse(key, "a key in another format", rule, "Convert a copy with: ssh-keygen -p -f COPY")
        if "port" in defaults:
            rule = "Machines that are made here have sshd at port 22"
            self._refuse("ssh.port", shown(defaults["port"]), rule, "Remove it")
        if not defaults.get("sftp", True):
            self._refuse("ssh.sftp", "false", "Machines that are made here have sftp", "Remove it")
        bastion = self._bastion(defaults["bastion"], defaults) if "bastion" in defaults else None
        return {"private_key": private, "passphrase": passphrase, "public_key": public or ""}, bastion

    def _public_key(self, way: Mapping[str, Any]) -> str:
        """The public half of the operator's key in an agent; empty without one."""
        given: str = way.get("publicKey", "").strip()
        if not way.get("agent"):
            if given:
                rule = "The public half of a key that is not in an agent is in the key, or made with it"
                self._refuse("ssh.publicKey", shown(given), rule, "Remove it, or set ssh.agent to true")
            return ""
        if not given:
            rule = "Machines that are made here are told the public half of the operator's key in the agent"
            self._refuse("ssh.publicKey", "nothing", rule, "Set it to its line of: ssh-add -L")
        else:
            self.problems += check_public_key(given, "ssh.publicKey")
        return given

    def _bastion(self, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> BastionConfig:
        """A bastion that exists, for machines that a cloud makes."""
        way = _merged({name: defaults[name] for name in _LOGIN if name in defaults}, given)
        private_key = passphrase = ""
        if way.get("agent") or "privateKeyFile" in way or "sshPrivateKey" in self._given:
            own = "privateKeyFile" in given or "agent" in given
            private_key, passphrase = self._login(way, "ssh.bastion" if own else "ssh")
        else:
            rule = "A bastion that exists is reached with a key that it knows"
            self._refuse("ssh.bastion.privateKeyFile", "nothing", rule, "Set it, or ssh.privateKeyFile for all")
        return BastionConfig(
            host=given.get("host", ""),
            host_key=given.get("hostKey", "").strip(),
            private_key=private_key,
            user=given.get("user", "root"),
            port=given.get("port", 22),
            passphrase=passphrase,
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
                extra_names=tuple(machine.get("extraNames", ())),
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
        way = _merged(defaults, own)
        key, passphrase = self._login(way, f"{at}.ssh" if "privateKeyFile" in own or "agent" in own else "ssh")
        bastion = way.get("bastion")
        if bastion is not None:
            where = f"{at}.ssh.bastion" if "bastion" in own else "ssh.bastion"
            to_bastion = _merged({name: way[name] for name in _LOGIN if name in way}, bastion)
            bastion_key, bastion_passphrase = self._login(to_bastion, where)
        return SshConfig(
            host=own.get("host", machine.get("address", "")),
            host_key=own.get("hostKey", "").strip(),
            private_key=key,
            user=way.get("user", "root"),
            port=way.get("port", 22),
            passphrase=passphrase,
            sftp=way.get("sftp", True),
            bastion=None
            if bastion is None
            else BastionConfig(
                host=bastion.get("host", ""),
                host_key=bastion.get("hostKey", "").strip(),
                private_key=bastion_key,
                user=bastion.get("user", "root"),
                port=bastion.get("port", 22),
                passphrase=bastion_passphrase,
            ),
        )

    def _check_shared_key(self, defaults: Mapping[str, Any]) -> None:
        if "sshPrivateKey" not in self._given:
            return
        passphrase = defaults.get("privateKeyPassphrase", "")
        self.problems += check_private_key(self._given["sshPrivateKey"], "sshPrivateKey", passphrase)
        if defaults.get("agent"):
            rule = "The key for all machines is in sshPrivateKey or in the agent"
            self._refuse("ssh.agent", "true", rule, "Remove one of the two")
        if "privateKeyFile" in defaults:
            rule = "The key for all machines is in sshPrivateKey or in ssh.privateKeyFile"
            self._refuse("ssh.privateKeyFile", shown(defaults["privateKeyFile"]), rule, "Remove one of the two")

    def _login(self, way: Mapping[str, Any], at: str) -> tuple[str, str]:
        """The private key of a way in and its passphrase; both empty where it is in the agent."""
        if way.get("agent"):
            if "privateKeyFile" in way:
                rule = "A private key is in a file or in the agent"
                self._refuse(f"{at}.agent", "true", rule, "Remove it, or privateKeyFile")
            return "", ""
        passphrase = way.get("privateKeyPassphrase", "")
        key = self._private_key(way, at, passphrase)
        return key, passphrase if has_passphrase(key) else ""

    def _private_key(self, way: Mapping[str, Any], at: str, passphrase: str) -> str:
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
        if (path, passphrase) not in self._key_files:
            # Once, however many machines share the file.
            text, found = read_private_key(path, file, f"{at}.privateKeyFile", passphrase)
            self._key_files[path, passphrase] = text
            self.problems += found
        return self._key_files[path, passphrase]

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
        given_authorities = [*self._given.get("authorities", [{}]), *self._given.get("peerAuthorities", [])]
        made = any("certificate" not in each for each in given_authorities)
        if made and lifetimes.ca_validity_hours <= validity:
            rule = f"The authority outlives the certificates that it issues, valid for {validity} hours"
            self._refuse("certificates.caValidityHours", shown(lifetimes.ca_validity_hours), rule, "Set it higher")
        return lifetimes

    def _authorities(self, key: str) -> tuple[AuthorityConfig, ...]:
        given = self._given.get(key, [{"name": DEFAULT_AUTHORITY}])
        return tuple(
            AuthorityConfig(each.get("name", ""), each.get("certificate"), each.get("privateKey")) for each in given
        )

    def _check_own_authorities(
        self,
        authorities: Sequence[AuthorityConfig],
        peers: Sequence[AuthorityConfig],
        issuers: Collection[str],
        validity_hours: int,
    ) -> None:
        """Checks what is in the user's certificates; who is missing what is a question of the plan."""
        own: dict[str, str] = {}
        given = [(f"authorities[{index}]", each) for index, each in enumerate(authorities)]
        # That one is given twice is for the plan to say.
        names = {each.name for each in authorities}
        given += [(f"peerAuthorities[{index}]", each) for index, each in enumerate(peers) if each.name not in names]
        for at, authority in given:
            if authority.certificate is None:
                continue
            found = check_authority(
                authority.certificate,
                authority.private_key,
                validity_hours,
                key=at,
                issues=authority.name in issuers,
                private_key_name="privateKey",
            )
            self.problems += found
            if not found:
                own[f"{at}.certificate"] = authority.certificate
        self.problems += check_different(own)

    def _firewall(self) -> FirewallConfig | None:
        given = self._given.get("firewall")
        if given is None:
            return None
        lists = {"clients": "2379", "metricsClients": "2381"}
        for name, port in lists.items():
            self.problems += check_sources(
                given.get(name, ()),
                f"firewall.{name}",
                ports=f"port {port}",
                world=given.get("openToTheWorld", False),
                world_key="firewall.openToTheWorld",
            )
        return FirewallConfig(*(tuple(given.get(name, ())) for name in lists))

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


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A way in with what it does not say itself; a key of its own is not the default's, and has another passphrase."""
    inherited = dict(defaults)
    if own.get("agent"):
        inherited.pop("privateKeyFile", None)
    if "privateKeyFile" in own:
        for name in ("agent", "privateKeyPassphrase"):
            inherited.pop(name, None)
    return {**inherited, **own}


def cluster_plan(config: StackConfig) -> ClusterPlan:
    """The cluster as `EtcdCluster` is going to plan it, without the program that its machines get."""
    return ClusterPlan(
        name=config.cluster_name,
        members=_members(config),
        program="",
        version=config.version,
        release_mirror=config.release_mirror,
        release_sha256=config.release_sha256,
        release_proxy=config.release_proxy,
        quota=config.quota,
        metrics=config.metrics,
        flags=config.flags,
        heartbeat_interval_ms=config.heartbeat_interval_ms,
        election_timeout_ms=config.election_timeout_ms,
        authorities=[each.plan for each in config.authorities],
        issuer=config.issuer,
        peer_authorities=None if config.peer_authorities is None else [each.plan for each in config.peer_authorities],
        peer_issuer=config.peer_issuer,
        extra_names=config.extra_names,
        authentication=config.authentication,
        users=config.users,
    )


def spelled(config: StackConfig, name: str) -> str:
    """The key for an argument of `EtcdCluster`."""
    return config.members_key if name == "members" else _camel_case(name)


def _members(config: StackConfig) -> list[MemberPlan]:
    cloud = config.aws or config.hetzner
    if cloud is None:
        return [
            MemberPlan(machine.name, machine.address, machine.data_directory, machine.extra_names)
            for machine in config.machines
        ]
    addresses = cloud.plan.addresses
    # Why a slot has no address is a problem already.
    return [
        MemberPlan(slot.name, addresses.get(slot.name, ""), config.data_directory, slot.extra_names)
        for slot in cloud.plan.slots
    ]


def _camel_case(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _snake_case(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)
