"""How etcd-node gets to a machine: by sftp into the home of the login, or on standard input of `prepare`.

Pulumi's state has only a hash of a copied file. It would contain the standard input of a command twice and write it
again at every step. Other users who can write to that file gain nothing: `bundle.RECEIVER` reads it once, and runs it
only if it has the expected SHA-256.

sftp does not work for every login. The login is asked once, because a failed copy would end the update.
"""

import hashlib
import re
import shlex

import pulumi
from pulumi_command import remote

from .machine import Ssh
from .node.shared.paths import ANSWERED
from .remote_command import command_line, split_output

_PREFIX = ".external-etcd-program-"
_INTERNAL = "internal-sftp"
# The first line of stdin names the file. Startup files of the shell may have changed the directory.
# A home may be shared by machines, each with a file of its own; one of an hour ago was left by a failed run.
_TIDY = f'rm -f "$f"; find . -maxdepth 1 -name "{_PREFIX}*" -mmin +60 -exec rm -f {{}} +'
_TAKE = f'IFS= read -r f; [ -f "$f" ] || cd; {{ if [ -f "$f" ]; then cat "$f"; fi; cat; }} | "$@" && {{ {_TIDY}; }}'
# Prints which program serves sftp; `none`, or `unknown` if sshd cannot be asked. In the state twice, so it is short.
_SERVED = (
    "PATH=$PATH:/usr/sbin:/usr/local/sbin; set -- unknown; if s=$(sshd -T 2>/dev/null); then "
    'set -- $(echo "$s" | sed -n "s/^subsystem sftp //p"); '
    f'[ "$1" = {_INTERNAL} ] || [ -x "$1" ] || set -- none; fi; echo "$1"; exit {ANSWERED}'
)
_SERVED_SECONDS = 60
# Errors of pulumi-command about the connection. `ssh_diagnosis` explains those.
_NO_WAY = re.compile(r"dial|handshake|lookup|failed attempts|private key|no key found|context", re.IGNORECASE)


def question(ssh: Ssh, machine: str) -> str:
    """The command line that asks whether sftp works for the login; `machine` is the name of the slot."""
    return command_line(ssh, machine, _SERVED_SECONDS, "sh", "-c", _SERVED)


async def works(question: remote.Command, machine: str) -> bool:
    """Whether sftp works for the login that was asked. True if there is no answer yet, as in the preview before.

    Raises AnswerError if the login ended without an answer.
    """
    if not await question.stdout.is_known():
        return True
    printed, served = split_output(str(await question.stdout.future()), machine)
    # sshd itself, or a program that the login's shell starts: what the shell prints before it spoils the protocol.
    return served == _INTERNAL or (served != "none" and not printed)


def place(ssh: Ssh, *parts: pulumi.Input[str]) -> pulumi.Output[str]:
    """The path of the copy, relative to the login's home.

    pulumi-command copies again only if the file or its path differs. So another machine has another path.

    Args:
        parts: more values that differ when the file must be copied again.
    """
    way = [ssh["host"], str(ssh.get("port", 22)), ssh.get("user", "root"), ssh["host_key"], *parts]
    return pulumi.Output.all(*way).apply(
        lambda known: _PREFIX + hashlib.sha256("\n".join(map(str, known)).encode()).hexdigest()[:12]
    )


def taking(line: str) -> str:
    """The command line that runs `line` with the file, if there is one, in front of the rest of standard input.

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
        f"{machine}: sftp could not copy etcd-node into the home of the login there. Is that disk full (df)? If sftp "
        "does not work at all for this login, sshd has no sftp subsystem, or the login's shell prints something at its "
        "start (~/.bashrc). "
        "`Subsystem sftp internal-sftp` in /etc/ssh/sshd_config fixes both; then run pulumi up again. If that is not "
        "possible, let etcd-node go through Pulumi's state, which grows by a third of a megabyte per member: run "
        f"pulumi up --replace '**-{machine}-sftp', which asks the login again; if `ssh` of the machine has "
        "`sftp: true`, remove that instead."
    )
