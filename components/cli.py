"""The command `external-etcd`: which commands it has. `python -m external_etcd` is the same.

A command is a module with `main(arguments) -> int`; the first argument is the command's own name. It is imported only
when it runs. A new one needs a line in `COMMANDS`.
"""

import argparse
import sys
from collections.abc import Sequence
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
