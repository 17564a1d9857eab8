"""The command line of `external-etcd status`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from ..cli import Command, stack_name
from . import facts
from .backend import Backend, BackendError, Listed
from .clusters import find
from .table import table

_FAILED, _CONDITION = 1, 3
"""Exit status; 2 is argparse's."""
_AT_ONCE = 4
"""Commands of the CLI that run at the same time; each takes about a second of CPU time, a preview more."""

_DESCRIPTION = """\
Shows all clusters of the stacks of a project in one table, from the stacks' outputs and histories.
It asks no machine and reads no secret.

Exit status: 0; 1 if a stack cannot be read or its preview fails; 2 for a wrong command line;
3 if a condition of --fail-on holds.
"""
_CONDITIONS = """\
fails on a condition; several are separated by commas or given one by one. expiring: a certificate or a CA expires
within --within days. unhealthy: the last update failed, was interrupted or is in progress. pending: the next update
does something. backup: no snapshot is stored, or the last drill of the restore failed.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status. The first argument is the command's name."""
    given = _parser().parse_args(arguments)
    backend, now = Backend(given.cwd), datetime.now(UTC)
    try:
        listed = _selected(backend.stacks(all_projects=given.all_projects), given.stack)
    except BackendError as error:
        print(f"external-etcd status: {error}", file=sys.stderr)
        return _FAILED

    def facts_of(each: Listed) -> facts.Stack | None:
        try:
            return _facts(backend, each, now, timedelta(days=given.within), preview=given.preview)
        except BackendError as error:
            return facts.unreadable(each.name, str(error))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(facts_of, listed))
    stacks = [each for each in found if each is not None]
    others = [each.name for each, fact in zip(listed, found, strict=True) if fact is None]
    if given.format == "json":
        rows = [dataclasses.asdict(each) for each in stacks]
        print(json.dumps({"at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "stacks": rows, "without_a_cluster": others}, indent=2))
    else:
        print(table(stacks, others), end="")
    if any(each.error for each in stacks):
        return _FAILED
    holds = {name for each in stacks for name in each.conditions}
    return _CONDITION if {name for names in given.fail_on for name in names} & holds else 0


def _selected(listed: Sequence[Listed], names: Sequence[str]) -> list[Listed]:
    """The stacks with these names, or all. One that is not in the list may be in another project."""
    known = {each.name: each for each in listed}
    return [known.get(name, Listed(name)) for name in dict.fromkeys(names)] if names else list(listed)


def _facts(backend: Backend, listed: Listed, now: datetime, within: timedelta, *, preview: bool) -> facts.Stack | None:
    """The facts about a stack; None if it has no cluster and nothing says that it is to have one."""
    outputs = backend.outputs(listed.name)
    clusters = find(outputs)
    if outputs and not clusters:
        return None
    last = backend.last_update(listed.name)
    seen = backend.preview(listed.name) if preview else None
    found = facts.stack(listed, clusters, last, seen, now=now, within=within)
    return found if found.clusters or found.unfinished or found.preview else None


def _parser() -> argparse.ArgumentParser:
    command = Command("status", _DESCRIPTION)
    parser = command.parser
    parser.add_argument(
        "-s", "--stack", action="append", type=stack_name, default=[], help="only this stack; can be repeated"
    )
    parser.add_argument("-C", "--cwd", metavar="DIR", default="", help="the project's directory")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all-projects", action="store_true", help="the stacks of all projects in the backend")
    which.add_argument(
        "--preview",
        action="store_true",
        help="also runs `pulumi preview` of each stack, and shows the headline of its review",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.add_argument(
        "--within", type=int, default=30, metavar="DAYS", help="for `expiring`; default: %(default)s days"
    )
    command.add_fail_on(facts.CONDITIONS, _CONDITIONS)
    return command.program
