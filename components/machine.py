"""Machine: the contract between a platform and the cluster.

A platform (existing hosts, a cloud) provides one `Machine` per slot. `EtcdCluster` uses nothing else of the platform.
"""

from typing import Any, NotRequired, TypedDict, TypeVar, cast

import pulumi
from pulumi_command import remote

from . import ssh_agent
from .ssh_private_key import shortest

_Host = TypeVar("_Host")


class Login(TypedDict):
    """The key of a login."""

    private_key: NotRequired[pulumi.Input[str]]
    """Private ssh key, PEM or OpenSSH format (secret). Default: the ssh agent of the user who runs Pulumi."""
    private_key_password: NotRequired[pulumi.Input[str]]
    """Passphrase of the private key (secret). Default: none."""


def login(private_key: pulumi.Input[str] | None, password: pulumi.Input[str] | None) -> Login:
    """The login with this key and passphrase, where they are not None."""
    found: Login = {}
    if private_key is not None:
        found["private_key"] = pulumi.Output.secret(private_key)
    if password is not None:
        found["private_key_password"] = pulumi.Output.secret(password)
    return found


def with_login(way: _Host, key: Login) -> _Host:
    """A way to a machine (or arguments that contain one), with the key added."""
    return cast(_Host, {**cast(dict[str, Any], way), **key})


class Bastion(Login):
    """A host through which machines are reached that the operator cannot reach directly."""

    host: pulumi.Input[str]
    """Name or address at which the operator (or the bastion) reaches it."""
    host_key: pulumi.Input[str]
    """Its public host key, one line like `ssh-ed25519 AAAA...`; any other is refused."""
    user: NotRequired[str]
    """Login. On a machine: `root`, or a user with password-less sudo. Default: `root`."""
    port: NotRequired[int]
    """TCP port of sshd. Default: 22."""


class Ssh(Bastion):
    """How the operator reaches a machine."""

    sftp: NotRequired[bool]
    """Whether `etcd-node` is copied to the machine by sftp. Otherwise it goes through Pulumi's state, which grows by a
    third of a megabyte per member. Default: the login is asked once whether sftp works."""
    bastion: NotRequired[Bastion]
    """Host through which the machine is reached. Default: none."""


class Machine(TypedDict):
    """One slot of the cluster: a stable name and address, and the machine that currently fills it."""

    name: str
    """Name of the slot and its member, a DNS label. It must not change during the life of the slot."""
    address: str
    """Private IP address that the other members and the API servers use."""
    ssh: Ssh
    """How the operator reaches the machine."""
    identity: NotRequired[pulumi.Input[str]]
    """Any text that changes when another machine fills the slot, like a server ID. The member is then converged again.
    Default: empty."""
    generation: NotRequired[int]
    """Generation of the machine in the slot, if Pulumi creates it. An update can raise one. Default: unknown."""
    data_directory: NotRequired[str]
    """Directory of etcd's data on the machine, absolute. Default: `/var/lib/etcd`."""
    data_device: NotRequired[pulumi.Input[str]]
    """Disk for that directory and nothing else. It is formatted if it is empty. Default: none."""
    extra_names: NotRequired[list[str]]
    """More DNS names and IP addresses in its server and peer certificates. Default: none."""
    origin: NotRequired[dict[str, str]]
    """The properties that Pulumi cannot change without deleting the machine (`plan.origin`). The next update compares
    them. Default: an existing machine."""
    firewall: NotRequired[dict[str, list[str]]]
    """Port -> ranges that can reach it. The machine drops other traffic to these ports. Default: ports are left
    alone."""
    root_only: NotRequired[list[str]]
    """Addresses that only root on the machine can reach, such as a metadata service. Default: none."""


class CloudMachine(Machine):
    """A machine that Pulumi created. Python only: other languages cannot pass a resource inside an object."""

    server: pulumi.Resource
    """The machine's resource. When it is deleted, nothing on the machine needs to be cleaned up."""


def lives_on(machine: Machine) -> pulumi.Resource | None:
    """The resource that is deleted with the machine, if any."""
    server = machine.get("server")
    return server if isinstance(server, pulumi.Resource) else None


# Retries last about 11 seconds if connections are refused, and about a minute if there is no answer. That is enough for
# a reboot and reports a lost machine soon. Delays between attempts: 100 ms x 1.5 up to 5 s.
DIAL_ATTEMPTS = 10
DIAL_TIMEOUT_SECONDS = 5


def connection(ssh: Ssh) -> remote.ConnectionArgs:
    """The pulumi-command connection to a machine. Host keys are always pinned.

    Raises `AgentError` if the key is in an ssh agent and none answers.
    """
    bastion = ssh.get("bastion")
    hosts: list[Bastion] = [ssh] if bastion is None else [ssh, bastion]
    ssh_agent.ready(needed=any("private_key" not in host for host in hosts))
    proxy = None if bastion is None else remote.ProxyConnectionArgs(**_dialled(bastion))
    return remote.ConnectionArgs(**_dialled(ssh), proxy=proxy)


def _dialled(host: Bastion) -> dict[str, Any]:
    key = host.get("private_key")
    return {
        "host": host["host"],
        "port": int(host.get("port", 22)),
        "user": host.get("user", "root"),
        "private_key": None if key is None else pulumi.Output.from_input(key).apply(shortest),
        "private_key_password": host.get("private_key_password"),
        "host_key": host["host_key"],
        "dial_error_limit": DIAL_ATTEMPTS,
        "per_dial_timeout": DIAL_TIMEOUT_SECONDS,
    }
