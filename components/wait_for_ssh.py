"""Waits until a new machine can be reached over ssh and its first boot is over."""

import asyncio
import re
import time

import pulumi
from pulumi_command import remote

from . import ssh_diagnosis
from .machine import Ssh, connection
from .node.shared.paths import ANSWERED
from .remote_command import answer, command_line

# Once in a machine's life: boot and cloud-init.
_SECONDS = 420.0
_PAUSE_SECONDS = 2.0
# Cloud-init restarts sshd, in some releases more than once. Later commands must not run into that. A first boot that
# failed is over too; `etcd-node prepare` checks for that and reports it.
_FIRST_BOOT = (
    "command -v cloud-init >/dev/null && timeout --kill-after=10 300 cloud-init status --wait >/dev/null; "
    f"exit {ANSWERED}"
)
_FIRST_BOOT_SECONDS = 330
# Errors of pulumi-command while sshd is not running yet, or is restarting.
_NOT_YET = re.compile(r"dial|handshake|connection|EOF|timed? ?out|exited without exit status", re.IGNORECASE)
# Another host answers, or an attacker in between. Waiting does not help.
_NEVER = re.compile(r"host key mismatch", re.IGNORECASE)
# As a rule the login exists before sshd starts, and a wrong key should not cost minutes.
_UNKNOWN = re.compile(r"unable to authenticate", re.IGNORECASE)
_UNKNOWN_SECONDS = 60.0


def wait_for_ssh(
    name: str, ssh: Ssh, host: pulumi.Input[str], server: pulumi.CustomResource, parent: pulumi.Resource
) -> pulumi.Output[str]:
    """The host, which resolves only after the first boot of its machine, so that its users wait.

    Commands of the cluster retry only for seconds, so that a lost machine is reported soon.

    Args:
        host: the result.
        server: the machine's resource. The wait is repeated when its ID changes.
    """
    machine = name.removesuffix("-ssh")
    # A new machine does not answer yet, which is normal. An existing bastion may be the wrong host.
    exists = "bastion" in ssh and isinstance(ssh["bastion"]["host"], str)
    hooks = ssh_diagnosis.hooks(f"{name}-way", machine) if exists else pulumi.ResourceHookBinding()
    # Retry the whole way: behind a bastion, pulumi-command dials the machine only once.
    hooks.on_error = [_again(f"{name}-again")]
    command = remote.Command(
        name,
        connection=connection(ssh),
        create=command_line(ssh, machine, _FIRST_BOOT_SECONDS, "sh", "-c", _FIRST_BOOT, root=False),
        triggers=[server.id],
        logging=remote.Logging.STDERR,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(parent=parent, deleted_with=server, hooks=hooks),
    )
    return pulumi.Output.all(host, answer(command, machine)).apply(lambda both: str(both[0]))


def _again(name: str) -> pulumi.ErrorHook:
    """A hook that retries a command while its machine may still be starting."""
    began: list[float] = []

    async def again(args: pulumi.ErrorHookArgs) -> bool:
        began.append(time.monotonic())
        if not args.errors or not worth_another_try(args.errors[0], began[-1] - began[0]):
            return False
        await asyncio.sleep(_PAUSE_SECONDS)
        return True

    return pulumi.ErrorHook(name, again)


def worth_another_try(said: str, seconds: float) -> bool:
    """Whether a new machine may still become reachable.

    Args:
        seconds: time since the first error.
    """
    if _NEVER.search(said) or not _NOT_YET.search(said):
        return False
    return seconds < (_UNKNOWN_SECONDS if _UNKNOWN.search(said) else _SECONDS)
