"""Commands on machines whose answer is marked: what else a login prints is not part of it, and silence is no success.

A login shell may print (`.bashrc`), or end before it runs anything; a program that a power cut has emptied ends with
status 0 and has done nothing. So a command has succeeded only if it says so, by an exit status that nothing else has,
and only what stands between two marks of its standard output is its answer. Progress goes to standard error.
"""

import shlex

import pulumi
from pulumi_command import remote

from .machine import Ssh
from .node.shared.paths import ANSWERED

_BEGIN = "external-etcd: answer"
_END = "external-etcd: done"
# No braces: the text of a command is read by people, up to the specification at its end.
_SCRIPT = (
    f'echo; echo "{_BEGIN}"; "$@"; s=$?; '
    f'if [ $s = {ANSWERED} ]; then echo; echo "{_END}"; exit 0; fi; '
    "if [ $s = 0 ]; then s=1; "
    'echo "$0: ended without an answer: etcd-node is damaged here, as a power cut leaves it, and has done nothing. '
    'Have the machine prepared again (another identity, on a cloud another generation)." >&2; fi; exit $s'
)


class AnswerError(pulumi.RunError):
    """A machine has not answered. Pulumi prints it without a stack trace."""


def asked(ssh: Ssh, machine: str, seconds: int, *words: str, root: bool = True) -> str:
    """The command line that runs a program and succeeds only if it ends with the exit status `ANSWERED`.

    Args:
        ssh: the way to the machine.
        machine: how to call it in messages.
        seconds: upper bound. pulumi-command never gives up on a command that hangs.
        words: the program and its arguments.
        root: as root; else as whoever logs in.
    """
    sudo = "" if not root or ssh.get("user", "root") == "root" else "sudo -n "
    return f"{sudo}timeout --kill-after=10 {seconds} " + shlex.join(["sh", "-c", _SCRIPT, machine, *words])


def answer(command: remote.Command, machine: str) -> pulumi.Output[str]:
    """What a command that `asked` made has answered; fails the update if there is no answer.

    Args:
        command: the resource.
        machine: how to call its machine in messages.
    """
    return command.stdout.apply(lambda said: _marked(said, machine))


def _marked(said: str, machine: str) -> str:
    _, begun, rest = f"\n{said}\n".rpartition(f"\n{_BEGIN}\n")
    text, done, _ = f"\n{rest}".rpartition(f"\n{_END}\n")
    if not begun or not done:
        raise AnswerError(
            f"{machine}: the login there ended without running what it was told to. Something ends its shell early "
            "(`exit` in ~/.bashrc, a forced command in ~/.ssh/authorized_keys): remove that. Then give the machine "
            "another `identity`, so that it is prepared again, and run pulumi up. Was this the first run of a newer "
            "program, with --target? Then run it without."
        )
    return text.strip("\n")
