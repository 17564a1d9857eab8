"""Commands on machines with a marked answer, so that other output of a login is ignored and no answer means failure.

A login shell may print something (`.bashrc`), or exit before it runs the command. A program file that a power failure
has emptied exits with status 0 and does nothing. So success has its own exit status, and the answer is only the text
between two marks on standard output. Progress goes to standard error.
"""

import shlex

import pulumi
from pulumi_command import remote

from .machine import Ssh
from .node.shared.paths import ANSWERED

_BEGIN = "external-etcd: answer"
_END = "external-etcd: done"
# Short, because the state has it ten times per member. No braces: people and tests find the specification at the end
# of a command by its first brace.
_SCRIPT = (
    f'echo;echo {_BEGIN};"$@";s=$?;'
    f"[ $s = {ANSWERED} ]&&echo&&echo {_END}&&exit;"
    '[ $s = 0 ]&&echo "$0: ended without an answer: etcd-node is damaged there. Change the identity of the machine (on '
    'a cloud, raise its generation).">&2&&exit 1;exit $s'
)


class AnswerError(pulumi.RunError):
    """A command ended without an answer. Pulumi prints it without a stack trace."""


def command_line(ssh: Ssh, machine: str, seconds: int, *words: str, root: bool = True) -> str:
    """The command line that runs a program and succeeds only if it exits with status `ANSWERED`.

    Args:
        machine: its name in messages.
        seconds: timeout. pulumi-command has none for a command that hangs.
        root: run as root; otherwise as the login.
    """
    sudo = "" if not root or ssh.get("user", "root") == "root" else "sudo -n "
    return f"{sudo}timeout --kill-after=10 {seconds} " + shlex.join(["sh", "-c", _SCRIPT, machine, *words])


def answer(command: remote.Command, machine: str) -> pulumi.Output[str]:
    """The answer of a command line made by `command_line`. Without an answer, the update fails with AnswerError.

    Args:
        machine: name of its machine in messages.
    """
    return command.stdout.apply(lambda said: split_output(said, machine)[1])


def split_output(said: str, machine: str) -> tuple[str, str]:
    """What the login printed before the answer, exactly, and the answer. Raises AnswerError if there is none.

    Args:
        said: the standard output of a command line made by `command_line`.
        machine: name of its machine in messages.
    """
    before, begun, rest = f"\n{said}\n".rpartition(f"\n{_BEGIN}\n")
    text, done, _ = f"\n{rest}".rpartition(f"\n{_END}\n")
    if not begun or not done:
        raise AnswerError(
            f"{machine}: the login there ended without running the command. Something ends its shell early (`exit` in "
            "~/.bashrc, a forced command in ~/.ssh/authorized_keys). Remove that. Change the machine's `identity`, so "
            "that it is prepared again, and run pulumi up. If this was the first run of a newer program and had "
            "--target, run it without."
        )
    return before.removeprefix("\n"), text.strip("\n")
