"""What is read of stacks, with the Pulumi CLI. Secrets are never asked for."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..review.preview import Preview, PreviewError, read


class BackendError(Exception):
    """The CLI cannot be run, or its answer cannot be read."""


@dataclass(frozen=True)
class Listed:
    """A stack in the list of a backend."""

    name: str
    """As the CLI takes it after `--stack`: with its project if that is not the one of the directory."""
    changed: datetime | None = None
    """When its state was written last. None: never, or not known."""
    resources: int = 0
    in_progress: bool = False
    """Whether an update runs; only Pulumi Cloud knows it."""


@dataclass(frozen=True)
class Update:
    """An update in a stack's history."""

    kind: str
    """`update`, `refresh`, `destroy`; others as Pulumi names them."""
    result: str
    """`succeeded`, `failed` or `in-progress`."""
    ended: datetime | None
    """None: it runs."""


class Backend:
    """The backend to which the CLI is logged in.

    Args:
        directory: the directory of a project. Default: the present one.
    """

    def __init__(self, directory: str = "") -> None:
        self._directory = directory

    def stacks(self, *, all_projects: bool) -> list[Listed]:
        """The stacks of the project, or of all projects. Raises BackendError."""
        found = self._json("stack", "ls", "--json", *(["--all"] if all_projects else []))
        return [
            Listed(
                str(each["name"]),
                _time(each.get("lastUpdate")),
                int(each.get("resourceCount") or 0),
                each.get("updateInProgress") is True,
            )
            for each in found
        ]

    def outputs(self, stack: str) -> Mapping[str, Any]:
        """The outputs, with `[secret]` in place of each secret. Raises BackendError."""
        found = self._json("stack", "output", "--json", f"--stack={stack}")
        return found if isinstance(found, dict) else {}

    def last_update(self, stack: str) -> Update | None:
        """The last update that is recorded; None before the first. Raises BackendError."""
        # It also has the configuration, which is not read.
        found = self._json("stack", "history", "--json", "--page-size=1", f"--stack={stack}")
        for each in found or ():
            return Update(str(each.get("kind")), str(each.get("result")), _time(each.get("endTime")))
        return None

    def preview(self, stack: str) -> Preview:
        """What the next update would do; without steps and failed if it cannot be read. Raises BackendError."""
        # On its standard error there may be anything that the program prints.
        text, status = self._run("preview", "--json", f"--stack={stack}", show_errors=False)
        try:
            found = read(text)
        except PreviewError:
            return read('{"steps": []}')
        # A violated policy is no error in the JSON. A refusal is, and has the same status.
        return replace(found, ended=False) if status and not found.refused else found

    def _json(self, *arguments: str) -> Any:
        text, status = self._run(*arguments)
        command = f"`pulumi {' '.join(arguments)}`"
        if status:
            raise BackendError(f"{command} ended with status {status}; see its message")
        try:
            return json.loads(text)
        except ValueError:
            raise BackendError(f"{command} printed no JSON") from None

    def _run(self, *arguments: str, show_errors: bool = True) -> tuple[str, int]:
        command = ["pulumi", *arguments, "--non-interactive", "--color=never"]
        command += [f"--cwd={self._directory}"] if self._directory else []
        errors = None if show_errors else subprocess.DEVNULL
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, check=False
            )
        except FileNotFoundError:
            raise BackendError("`pulumi` is not on PATH; install it") from None
        return done.stdout, done.returncode


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None
