"""Copies etcd-node to a machine by sftp, into the home of the login.

Pulumi's state has only a hash of a copied file. It would contain the standard input of a command twice and write it
again at every step. Other users who can write to that file gain nothing: `bundle.RECEIVER` reads it once, and runs it
only if it has the expected SHA-256.
"""

import hashlib
import re
import shlex

import pulumi

from .machine import Ssh

_PREFIX = ".external-etcd-program-"
# The first line of stdin names the file. Startup files of the shell may have changed the directory.
# A home may be shared by machines, each with a file of its own; one of an hour ago was left by a failed run.
_TIDY = f'rm -f "$f"; find . -maxdepth 1 -name "{_PREFIX}*" -mmin +60 -exec rm -f {{}} +'
_TAKE = f'IFS= read -r f; [ -f "$f" ] || cd; {{ if [ -f "$f" ]; then cat "$f"; fi; cat; }} | "$@" && {{ {_TIDY}; }}'
# Errors of pulumi-command about the connection. `ssh_diagnosis` explains those.
_NO_WAY = re.compile(r"dial|handshake|lookup|failed attempts|private key|no key found|context", re.IGNORECASE)


def place(ssh: Ssh, *parts: pulumi.Input[str]) -> pulumi.Output[str]:
    """The path of the copy, relative to the login's home.

    pulumi-command copies again only if the file or its path differs. So another machine has another path.

    Args:
        ssh: the way to the machine.
        parts: more values that differ when the file must be copied again.
    """
    way = [ssh["host"], str(ssh.get("port", 22)), ssh.get("user", "root"), ssh["host_key"], *parts]
    return pulumi.Output.all(*way).apply(
        lambda known: _PREFIX + hashlib.sha256("\n".join(map(str, known)).encode()).hexdigest()[:12]
    )


def taking(line: str) -> str:
    """The command line that runs `line` with the file in front of the rest of standard input.

    After success, the file is removed.
    """
    return f"sh -c {shlex.quote(_TAKE)} upload {line}"


def hook(name: str, machine: str) -> pulumi.ErrorHook:
    """A hook that warns, with a remedy, if sftp does not work; `machine` is the name of the slot."""

    async def explain(args: pulumi.ErrorHookArgs) -> bool:
        if args.errors and (remedy := remedy_for(machine, args.errors[0])):
            pulumi.log.warn(remedy)
        return False

    return pulumi.ErrorHook(name, explain)


def remedy_for(machine: str, said: str) -> str | None:
    """What to do after the error `said` of a copy; None if the connection failed."""
    if _NO_WAY.search(said):
        return None
    return (
        f"{machine}: sftp could not copy etcd-node into the home of the login there. If sftp does not work at all for "
        "this login, sshd has no sftp subsystem, or the login's shell prints something at its start (~/.bashrc). "
        "`Subsystem sftp internal-sftp` in /etc/ssh/sshd_config fixes both. If that is not possible, set `sftp: false` "
        "in `ssh` of the machine: etcd-node then goes through Pulumi's state, which grows by a third of a megabyte per "
        "member. Then run pulumi up again."
    )
