"""The command `external-etcd`: which commands it has. `python -m external_etcd` is the same.

A command is a module with `main(arguments) -> int`; the first argument is the command's own name. It is imported only
when it runs. A new one needs a line in `COMMANDS`.
"""

import argparse
import re
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

COMMANDS = {
    "review": (".review.cli", "a comment on a change, from its preview"),
    "status": (".status.cli", "all clusters of the stacks of a project, or of a whole backend"),
}
"""Name -> its module in this package, and one line about it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit status.

    Args:
        arguments: the command's name, and its arguments. Default: those of the process.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    name = _parser().parse_args(given[:1]).command
    return int(import_module(COMMANDS[name][0], __package__).main(given))


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="external-etcd",
        description="Tools for clusters of external-etcd.",
        epilog="\n".join(
            [
                "commands:",
                *(f"  {name:{width}}  {about}" for name, (_, about) in COMMANDS.items()),
                "",
                "external-etcd COMMAND --help explains each.",
            ]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"external-etcd {_version()}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below, with its arguments")
    return parser


def _version() -> str:
    try:
        return version("external-etcd")
    except PackageNotFoundError:
        return "(a clone, not installed)"


class Command:
    """The command line of one command, with what several commands have.

    Args:
        name: as in `COMMANDS`.
        description: for `--help`, as it is.
    """

    def __init__(self, name: str, description: str) -> None:
        self.program = argparse.ArgumentParser(prog="external-etcd", description="Tools for clusters of external-etcd.")
        self.parser = self.program.add_subparsers(required=True, metavar="COMMAND").add_parser(
            name,
            help=COMMANDS[name][1],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def add_fail_on(self, conditions: Collection[str], about: str) -> None:
        """`--fail-on`; its value has a tuple of conditions for each time that it was given."""

        def known(text: str) -> tuple[str, ...]:
            names = tuple(text.split(","))
            if wrong := [name for name in names if name not in conditions]:
                raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of {', '.join(conditions)}")
            return names

        self.parser.add_argument("--fail-on", action="append", type=known, default=[], metavar="CONDITION", help=about)


def stack_name(text: str) -> str:
    """The name of a stack in an argument. Raises ArgumentTypeError if it is none."""
    if not re.fullmatch(r"[\w./-]{1,200}", text, re.ASCII):
        raise argparse.ArgumentTypeError("a stack's name has only letters, digits, and _ . / -")
    return text
