"""Waits until a machine that was just made can be reached over ssh, and will stay so."""

import asyncio
import re
import time

import pulumi
from pulumi_command import remote

from . import ssh_diagnosis
from .answers import answer, asked
from .machine import Ssh, connection
from .node.shared.paths import ANSWERED

# Once in a machine's life: it boots, and cloud-init does what it was told.
_SECONDS = 420.0
_PAUSE_SECONDS = 2.0
# Cloud-init starts sshd anew, some releases more than once: what comes later must not meet that. A first boot that
# failed is ended too; `etcd-node prepare` looks at it and says so.
_FIRST_BOOT = (
    "command -v cloud-init >/dev/null && timeout --kill-after=10 300 cloud-init status --wait >/dev/null; "
    f"exit {ANSWERED}"
)
_FIRST_BOOT_SECONDS = 330
# What pulumi-command says while there is no sshd yet, or one that is just being started anew.
_NOT_YET = re.compile(r"dial|handshake|connection|EOF|timed? ?out|exited without exit status", re.IGNORECASE)
# Another machine answers, or somebody in between: waiting makes it no better.
_NEVER = re.compile(r"host key mismatch", re.IGNORECASE)
# The login is made before sshd is started, as a rule; a wrong key should not cost minutes.
_UNKNOWN = re.compile(r"unable to authenticate", re.IGNORECASE)
_UNKNOWN_SECONDS = 60.0


def wait_for_ssh(
    name: str, ssh: Ssh, host: pulumi.Input[str], server: pulumi.CustomResource, parent: pulumi.Resource
) -> pulumi.Output[str]:
    """The host, known only when the first boot of the machine there is over; what uses it therefore waits for that.

    The commands of the cluster try for seconds only, so that a machine which is gone is said soon.

    Args:
        name: name of the resource.
        ssh: the way in.
        host: what of it to return.
        server: the machine; another one is waited for anew.
        parent: the component.
    """
    machine = name.removesuffix("-ssh")
    # Nobody answers at a machine that is just being made; but a bastion that exists may be a wrong one.
    exists = "bastion" in ssh and isinstance(ssh["bastion"]["host"], str)
    hooks = ssh_diagnosis.hooks(f"{name}-way", machine) if exists else pulumi.ResourceHookBinding()
    # The whole way anew each time: through a bastion, pulumi-command tries the last step of it only once.
    hooks.on_error = [_again(f"{name}-again")]
    command = remote.Command(
        name,
        connection=connection(ssh),
        create=asked(ssh, machine, _FIRST_BOOT_SECONDS, "sh", "-c", _FIRST_BOOT, root=False),
        triggers=[server.id],
        logging=remote.Logging.STDERR,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            parent=parent,
            deleted_with=server,
            hooks=hooks,
        ),
    )
    return pulumi.Output.all(host, answer(command, machine)).apply(lambda both: str(both[0]))


def _again(name: str) -> pulumi.ErrorHook:
    """A hook that has a command tried again while its machine may still be starting."""
    began: list[float] = []

    async def again(args: pulumi.ErrorHookArgs) -> bool:
        began.append(time.monotonic())
        if not args.errors or not worth_another_try(args.errors[0], began[-1] - began[0]):
            return False
        await asyncio.sleep(_PAUSE_SECONDS)
        return True

    return pulumi.ErrorHook(name, again)


def worth_another_try(said: str, seconds: float) -> bool:
    """Whether a machine that was just made may still come to be reached.

    Args:
        said: the error.
        seconds: time since the first one.
    """
    if _NEVER.search(said) or not _NOT_YET.search(said):
        return False
    return seconds < (_UNKNOWN_SECONDS if _UNKNOWN.search(said) else _SECONDS)
