"""The first boot of every machine on a cloud: the operator's login, and user data that only root can read."""

from collections.abc import Mapping
from typing import Any, NotRequired

import pulumi
import pulumi_tls as tls

from .machine import Bastion, Login, Ssh, login, with_login
from .node.machine import metadata
from .node.shared import paths
from .plan import cloud_init
from .plan.cloud import DEFAULT_USER
from .wait_for_ssh import wait_for_ssh

FOR_ROOT = {paths.METADATA_UNIT: metadata.unit_text(cloud_init.METADATA)}
"""Units of the first boot. Members of earlier generations get the same one by `etcd-node prepare`."""


class OperatorArgs(Login):
    """The operator's login on created machines. The key component of the platform can create its key."""

    public_key: pulumi.Input[str]
    """Public half of the operator's key, one line."""
    user: NotRequired[str]
    """The operator's login, created by cloud-init, with password-less sudo. Default: `etcd-operator`."""


def template(
    args: OperatorArgs, units: Mapping[str, str] = FOR_ROOT, generation: int = 1, *, bastion: bool = False
) -> pulumi.Output[Any]:
    """The first boot, without the host key.

    Args:
        units: name -> text of the systemd units that it starts.
        generation: generation of the machine's slot.
        bastion: whether the machine is a bastion.
    """
    user = args.get("user", DEFAULT_USER)
    # Public even if it came from a secret.
    return pulumi.Output.unsecret(pulumi.Output.from_input(args["public_key"])).apply(
        lambda key: cloud_init.template(user, [key.strip()], generation, units, bastion=bastion)
    )


def user_data(first_boot: pulumi.Input[Any], host_key: tls.PrivateKey) -> pulumi.Output[str]:
    """User data from a template and the machine's host key (secret)."""
    parts = pulumi.Output.all(first_boot, host_key.private_key_openssh, host_key.public_key_openssh)
    text: pulumi.Output[str] = pulumi.Output.secret(parts.apply(lambda all_: cloud_init.user_data(*all_)))
    return text


def operator_ssh(args: OperatorArgs, host: pulumi.Input[str], host_key: tls.PrivateKey) -> Ssh:
    """The way to a machine with that host key."""
    way: Ssh = {"host": host, "host_key": host_key.public_key_openssh, "user": args.get("user", DEFAULT_USER)}
    return with_login(way, login(args.get("private_key"), args.get("private_key_password")))


def made_bastion(name: str, way: Ssh, server: pulumi.CustomResource, parent: pulumi.Resource) -> Bastion:
    """A created bastion, for the machines behind it. Its host resolves after its first boot.

    The command that waits for the first boot is `<name>-ssh`.
    """
    host = wait_for_ssh(f"{name}-ssh", way, way["host"], server, parent)
    through: Bastion = {"host": host, "host_key": way["host_key"], "user": way.get("user", DEFAULT_USER)}
    return with_login(through, login(way.get("private_key"), way.get("private_key_password")))
