"""The command line `external-etcd`."""

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..cli import Command, stack_name
from .markdown import markdown
from .preview import PreviewError, read
from .review import FAILED, POLICIES, review
from .svg import svg

_FAILED, _POLICY = 1, 3
"""Exit status; 2 is argparse's."""

_DESCRIPTION = """\
Reads `pulumi preview --json`, and prints a comment on the change. It contains no secret.

Exit status: 0; 1 if the preview failed or cannot be read; 2 for a wrong command line;
3 if a condition of --fail-on holds.
"""
_CONDITIONS = """\
fails on a condition; several are separated by commas or given one by one. refused: the guard refuses the change.
restart: a member or an API server restarts, or a member is away for a while. irreversible: something cannot be undone.
replace: a resource of a cloud is replaced or deleted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        text, status = _preview(given)
        preview = read(text)
        # A violated policy is no error in the JSON. A refusal is, and has the same status.
        if status and not preview.refused:
            preview = dataclasses.replace(preview, ended=False)
        found = review(preview, given.stack or "")
    except PreviewError as error:
        print(f"external-etcd review: {error}", file=sys.stderr)
        return _FAILED
    if given.svg:
        try:
            Path(given.svg).write_text(svg(found), encoding="utf-8")
        except OSError as error:
            print(f"external-etcd review: {given.svg} cannot be written: {error}", file=sys.stderr)
            return _FAILED
    if given.format == "json":
        print(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        print(markdown(found, given.manual, given.picture or given.svg), end="")
    if found.verdict == FAILED:
        return _FAILED
    return _POLICY if {name for names in given.fail_on for name in names} & {*found.policies} else 0


def _preview(given: argparse.Namespace) -> tuple[str, int]:
    """The preview, and the exit status of `pulumi preview`; 0 if it ran elsewhere."""
    if given.file is not None:
        try:
            return sys.stdin.read() if given.file == "-" else Path(given.file).read_text(encoding="utf-8"), 0
        except (OSError, UnicodeDecodeError) as error:
            raise PreviewError(f"{given.file} cannot be read: {error}") from error
    command = ["pulumi", "preview", "--json", "--non-interactive"]
    command += [f"--stack={given.stack}"] if given.stack else []
    command += [f"--cwd={given.cwd}"] if given.cwd else []
    try:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        raise PreviewError("`pulumi` is not on PATH; install it, or give a file or - for standard input") from None
    if not run.stdout.strip():
        raise PreviewError(
            f"`pulumi preview` ended with status {run.returncode} and printed no preview; see its messages"
        )
    return run.stdout, run.returncode


def _parser() -> argparse.ArgumentParser:
    command = Command("review", _DESCRIPTION)
    parser = command.parser
    parser.add_argument(
        "file", nargs="?", help="output of `pulumi preview --json`; - is standard input. Default: runs the preview"
    )
    parser.add_argument("-s", "--stack", type=stack_name, help="the stack. Default: as in the preview")
    parser.add_argument("-C", "--cwd", metavar="DIR", help="the project's directory, to run the preview there")
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown", help="default: %(default)s")
    parser.add_argument(
        "--svg",
        default="",
        metavar="FILE",
        help="writes the picture there, for a place that does not draw mermaid; the comment then refers to it",
    )
    parser.add_argument(
        "--picture", default="", metavar="URL", help="address of that file, for the comment. Default: as in --svg"
    )
    command.add_fail_on(POLICIES, _CONDITIONS)
    parser.add_argument(
        "--manual",
        default="",
        metavar="URL",
        help="address of the folder that has docs, for links: https://example.com/our/external-etcd/blob/main",
    )
    return command.program
