"""Machine: the contract between those who provide machines and those who use them.

A platform (existing hosts, a cloud) makes one `Machine` per slot; `EtcdCluster` uses nothing else of the platform.
"""

from typing import Any, NotRequired, TypedDict, TypeVar, cast

import pulumi
from pulumi_command import remote

from . import agent

_Way = TypeVar("_Way")


class Login(TypedDict):
    """With which key somebody logs in; with none: with those in the ssh agent."""

    private_key: NotRequired[pulumi.Input[str]]
    """Private ssh key in PEM or OpenSSH format (secret). Default: those in the ssh agent of whoever runs Pulumi."""
    private_key_password: NotRequired[pulumi.Input[str]]
    """Its passphrase (secret). Default: it has none."""


def login(private_key: pulumi.Input[str] | None, password: pulumi.Input[str] | None) -> Login:
    """The part of a way in that says with which key; None for what there is not."""
    found: Login = {}
    if private_key is not None:
        found["private_key"] = pulumi.Output.secret(private_key)
    if password is not None:
        found["private_key_password"] = pulumi.Output.secret(password)
    return found


def with_login(way: _Way, key: Login) -> _Way:
    """A way in, or arguments that hold one, with the key for it."""
    return cast(_Way, {**cast(dict[str, Any], way), **key})


class Bastion(Login):
    """The host through which machines without a way in from the operator are reached."""

    host: pulumi.Input[str]
    """Name or address at which the operator (or the bastion) reaches it."""
    host_key: pulumi.Input[str]
    """Its public host key, one line like `ssh-ed25519 AAAA...`; any other key is refused."""
    user: NotRequired[str]
    """Login: on a machine `root`, or a user with password-less sudo. Default: `root`."""
    port: NotRequired[int]
    """TCP port of its sshd. Default: 22."""


class Ssh(Bastion):
    """How the operator reaches a machine."""

    sftp: NotRequired[bool]
    """Whether etcd-node is copied by sftp; else it goes through Pulumi's state, which grows by a third of a megabyte
    per member. Default: true."""
    bastion: NotRequired[Bastion]
    """Reach the machine through this host. Default: directly."""


class Machine(TypedDict):
    """One slot of the cluster: a stable name and address, and the machine that fills it now."""

    name: str
    """Name of the slot and of its etcd member: a DNS label, stable for the life of the slot."""
    address: str
    """Private IP address that the other members and the API servers use."""
    ssh: Ssh
    """How the operator reaches the machine."""
    identity: NotRequired[pulumi.Input[str]]
    """Changes when another machine fills the slot (a server id), so that it is converged anew. Default: empty."""
    generation: NotRequired[int]
    """How many machines have filled the slot on purpose, where Pulumi makes them; one is raised per update. Default:
    not known."""
    data_directory: NotRequired[str]
    """Directory of etcd's data on the machine, absolute. Default: `/var/lib/etcd`."""
    data_device: NotRequired[pulumi.Input[str]]
    """Disk that holds that directory and nothing else; it is formatted if it is empty. Default: none of its own."""
    extra_names: NotRequired[list[str]]
    """DNS names and IP addresses that its server and peer certificates have beside its own. Default: none."""
    origin: NotRequired[dict[str, str]]
    """Where the machine comes from, as far as Pulumi would delete it for another value (`plan.origin`): the next update
    compares. Default: it exists already."""
    firewall: NotRequired[dict[str, list[str]]]
    """Port -> ranges that may reach it; the machine drops all else that comes to these ports. Default: left alone."""
    root_only: NotRequired[list[str]]
    """Addresses that only root on the machine may reach: those of a metadata service. Default: none."""


class CloudMachine(Machine):
    """A machine that Pulumi made; not for the other languages, which cannot hand over a resource in an object."""

    server: pulumi.Resource
    """What is deleted when the machine is: nothing on it needs to be taken away then."""


def lives_on(machine: Machine) -> pulumi.Resource | None:
    """The resource with which the machine goes, if there is one."""
    server = machine.get("server")
    return server if isinstance(server, pulumi.Resource) else None


# A refused connection is retried for about 11 seconds, one that gets no answer for about a minute: enough for a
# machine that reboots, short enough to say soon that one is gone. Delays: 100 ms x 1.5 up to 5 s between attempts.
DIAL_ATTEMPTS = 10
DIAL_TIMEOUT_SECONDS = 5


def connection(ssh: Ssh, attempts: int = DIAL_ATTEMPTS) -> remote.ConnectionArgs:
    """The pulumi-command connection to a machine; host keys are always pinned.

    Raises `AgentError` if the key is in an ssh agent, and none answers.

    Args:
        ssh: the way in.
        attempts: how often to dial; more for a machine that has just been made.
    """
    bastion = ssh.get("bastion")
    ways = [ssh] if bastion is None else [ssh, bastion]
    agent.ready(needed=any("private_key" not in way for way in ways))
    return remote.ConnectionArgs(
        host=ssh["host"],
        port=int(ssh.get("port", 22)),
        user=ssh.get("user", "root"),
        private_key=ssh.get("private_key"),
        private_key_password=ssh.get("private_key_password"),
        host_key=ssh["host_key"],
        dial_error_limit=attempts,
        per_dial_timeout=DIAL_TIMEOUT_SECONDS,
        proxy=None
        if bastion is None
        else remote.ProxyConnectionArgs(
            host=bastion["host"],
            port=int(bastion.get("port", 22)),
            user=bastion.get("user", "root"),
            private_key=bastion.get("private_key"),
            private_key_password=bastion.get("private_key_password"),
            host_key=bastion["host_key"],
            dial_error_limit=attempts,
            per_dial_timeout=DIAL_TIMEOUT_SECONDS,
        ),
    )
