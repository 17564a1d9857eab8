"""What every machine that a cloud makes begins with: its operator's login, and user data that are for root alone."""

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
    """Who logs in to machines that are made; the platform's key makes a key."""

    public_key: pulumi.Input[str]
    """The public half of the operator's key, one line."""
    user: NotRequired[str]
    """The operator's login, made by cloud-init, with password-less sudo. Default: `etcd-operator`."""


def template(
    args: OperatorArgs, units: Mapping[str, str] = FOR_ROOT, generation: int = 1, *, bastion: bool = False
) -> pulumi.Output[Any]:
    """What the first boot does, without the host key.

    Args:
        args: the operator.
        units: name -> text of the units that it starts.
        generation: that of the machine's slot.
        bastion: the machine is one.
    """
    user = args.get("user", DEFAULT_USER)
    # Public even where it came with a secret.
    return pulumi.Output.unsecret(pulumi.Output.from_input(args["public_key"])).apply(
        lambda key: cloud_init.template(user, [key.strip()], generation, units, bastion=bastion)
    )


def user_data(first_boot: pulumi.Input[Any], host_key: tls.PrivateKey) -> pulumi.Output[str]:
    """User data of a template and the host key that the machine is to have (secret)."""
    parts = pulumi.Output.all(first_boot, host_key.private_key_openssh, host_key.public_key_openssh)
    text: pulumi.Output[str] = pulumi.Output.secret(parts.apply(lambda all_: cloud_init.user_data(*all_)))
    return text


def way_in(args: OperatorArgs, host: pulumi.Input[str], host_key: tls.PrivateKey) -> Ssh:
    """The way to a machine with that host key."""
    way: Ssh = {"host": host, "host_key": host_key.public_key_openssh, "user": args.get("user", DEFAULT_USER)}
    return with_login(way, login(args.get("private_key"), args.get("private_key_password")))


def made_bastion(name: str, way: Ssh, server: pulumi.CustomResource, parent: pulumi.Resource) -> Bastion:
    """A bastion that is made, for the machines behind it; its host is known when its first boot is over.

    Args:
        name: its name; the command that waits is `<name>-ssh`.
        way: the way to it.
        server: the machine.
        parent: the component.
    """
    host = wait_for_ssh(f"{name}-ssh", way, way["host"], server, parent)
    through: Bastion = {"host": host, "host_key": way["host_key"], "user": way.get("user", DEFAULT_USER)}
    return with_login(through, login(way.get("private_key"), way.get("private_key_password")))
