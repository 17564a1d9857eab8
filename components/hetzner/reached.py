"""Waits until a machine that was just made can be reached over ssh."""

import pulumi
from pulumi_command import remote

from ..machine import Ssh, connection

# Refused at first, then every five seconds: about five minutes for a machine to boot, once in its life.
_ATTEMPTS = 60


def reached(
    name: str, ssh: Ssh, host: pulumi.Input[str], server: pulumi.Resource, parent: pulumi.Resource
) -> pulumi.Output[str]:
    """The host, known only when the machine there has answered; what uses it therefore waits for that.

    The commands of the cluster try for seconds only, so that a machine which is gone is said soon.

    Args:
        name: name of the resource.
        ssh: the way in.
        host: what of it to return.
        server: the machine; another one is waited for anew.
        parent: the component.
    """
    command = remote.Command(
        name,
        connection=connection(ssh, _ATTEMPTS),
        create="true",
        triggers=[server.id] if isinstance(server, pulumi.CustomResource) else None,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(parent=parent, deleted_with=server),
    )
    return pulumi.Output.all(host, command.stdout).apply(lambda both: str(both[0]))
