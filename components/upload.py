"""etcd-node on its way to a machine: by sftp, into the home of whoever logs in.

Of a file that is copied Pulumi keeps a hash. What a command reads on its standard input it keeps whole, twice, and
writes anew at every step. Whoever else could write at that place gains nothing by it: `bundle.RECEIVER` reads the file
once, and runs it only if it has the expected SHA-256.
"""

import hashlib
import re
import shlex

import pulumi

from .machine import Ssh

_PREFIX = ".external-etcd-program-"
# The first line of stdin names the file. What a shell does at its start may have changed the directory.
_TAKE = f'IFS= read -r f; [ -f "$f" ] || cd; {{ if [ -f "$f" ]; then cat "$f"; fi; cat; }} | "$@" && rm -f {_PREFIX}*'
# What pulumi-command says of the way to the machine; `ssh_diagnosis` looks at that.
_NO_WAY = re.compile(r"dial|handshake|lookup|failed attempts|private key|no key found|context", re.IGNORECASE)


def place(ssh: Ssh, *parts: pulumi.Input[str]) -> pulumi.Output[str]:
    """Where a machine gets it, relative to the login's home.

    pulumi-command copies again only if the file or its place is another, so that another machine has another place.

    Args:
        ssh: the way to the machine.
        parts: what else differs when it has to be there again.
    """
    way = [ssh["host"], str(ssh.get("port", 22)), ssh.get("user", "root"), ssh["host_key"], *parts]
    return pulumi.Output.all(*way).apply(
        lambda known: _PREFIX + hashlib.sha256("\n".join(map(str, known)).encode()).hexdigest()[:12]
    )


def taking(line: str) -> str:
    """The command line that runs another one with the file before what is left of its standard input.

    The file is removed when that has succeeded.

    Args:
        line: words of a shell.
    """
    return f"sh -c {shlex.quote(_TAKE)} upload {line}"


def hook(name: str, machine: str) -> pulumi.ErrorHook:
    """A hook that warns with a remedy where sftp does not work.

    Args:
        name: unique name of the hook.
        machine: name of the slot.
    """

    async def explain(args: pulumi.ErrorHookArgs) -> bool:
        if args.errors and (remedy := remedy_for(machine, args.errors[0])):
            pulumi.log.warn(remedy)
        return False

    return pulumi.ErrorHook(name, explain)


def remedy_for(machine: str, said: str) -> str | None:
    """What to do where a copy has failed; None when the way to the machine is what fails.

    Args:
        machine: name of the slot.
        said: the error.
    """
    if _NO_WAY.search(said):
        return None
    return (
        f"{machine}: sftp could not copy etcd-node into the home of the login there. If sftp does not work for it at "
        "all, sshd there serves no sftp, or a shell that prints something at its start (~/.bashrc) is in its way: "
        "`Subsystem sftp internal-sftp` in /etc/ssh/sshd_config mends both. If that cannot be, set `sftp: false` in "
        "`ssh` of the machine: the program then goes through Pulumi's state, which grows by a third of a megabyte per "
        "member. Then run pulumi up again."
    )
