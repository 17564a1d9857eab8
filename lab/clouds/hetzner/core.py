"""The emulated account: its resources, in memory, and the actions on them."""

import copy
import datetime
import itertools
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...errors import LabError
from . import labels
from .errors import ApiError, invalid, missing, not_unique
from .machines import Machines

Row = dict[str, Any]
Work = Callable[[], None]
KINDS = ("networks", "ssh_keys", "servers", "placement_groups", "firewalls", "volumes", "primary_ips", "actions")
TITLES = {kind: kind.removesuffix("s").replace("_", " ").replace("ssh", "SSH") for kind in KINDS}
_FIRST_ID = 1001


def now() -> str:
    """The current time in the API's format."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@dataclass
class Request:
    """One request: the id in its path (0: none), its query, its JSON."""

    number: int
    query: dict[str, list[str]]
    body: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, kind: type | tuple[type, ...], *, required: bool = False, default: Any = None) -> Any:
        """A field of the request; null counts as absent.

        Raises:
            ApiError: `invalid_input`: absent though required, or of another type.
        """
        value = self.body.get(name)
        if value is None:
            if required:
                raise invalid(name, "is required")
            return default
        wanted = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise invalid(name, f"must be of type {' or '.join(one.__name__ for one in wanted)}")
        return value

    def refuse(self, *names: str) -> None:
        """Refuse fields that only the real API has, so that none is ignored silently."""
        for name in names:
            if self.body.get(name):
                raise invalid(name, "is not emulated")


class Cloud:
    """The account. Hold `lock` to use it; slow work runs in actions, which do not hold it.

    Args:
        machines: The machines, networks and volumes on this computer; by default nothing boots.
    """

    def __init__(self, machines: Machines | None = None) -> None:
        self.lock = threading.RLock()
        self.machines = machines or Machines()
        self._numbers = itertools.count(_FIRST_ID)
        self._state: dict[str, dict[int, Row]] = {kind: {} for kind in KINDS}

    def number(self) -> int:
        """A number that was never used."""
        return next(self._numbers)

    def rows(self, kind: str) -> list[Row]:
        """All resources of a kind, by id."""
        return [row for _, row in sorted(self._state[kind].items())]

    def find(self, kind: str, number: object) -> Row | None:
        """The resource with that id."""
        return self._state[kind].get(number) if isinstance(number, int) else None

    def row(self, kind: str, number: object) -> Row:
        """The resource with that id.

        Raises:
            ApiError: `not_found`.
        """
        found = self.find(kind, number)
        if found is None:
            raise missing(TITLES[kind], number)
        return found

    def referred(self, kind: str, request: Request, name: str) -> Row:
        """The resource whose id is in a field of a request; `not_found` if there is none."""
        return self.row(kind, request.get(name, int, required=True))

    def add(self, kind: str, row: Row) -> Row:
        """Add a new resource, with a new id unless it has one."""
        row.setdefault("id", self.number())
        self._state[kind][row["id"]] = row
        return row

    def remove(self, kind: str, row: Row) -> None:
        """Remove a resource."""
        self._state[kind].pop(row["id"], None)

    def free_name(self, kind: str, name: str, but: Row | None = None) -> None:
        """Refuse an empty name, or one that another resource of the kind has.

        Raises:
            ApiError: `invalid_input`, `uniqueness_error`.
        """
        if not name:
            raise invalid("name", "must not be empty")
        if any(row["name"] == name and row is not but for row in self.rows(kind)):
            raise not_unique("name", f"{TITLES[kind]} name is already used")

    def update(self, kind: str, request: Request, check_name: Callable[[str], object] = lambda _: None) -> Row:
        """PUT for every kind: another name, other labels."""
        row = self.row(kind, request.number)
        name = request.get("name", str, default=row["name"])
        checked = labels.check(request.body.get("labels") if request.body.get("labels") is not None else row["labels"])
        if name != row["name"]:
            check_name(name)
            self.free_name(kind, name, but=row)
        row |= {"name": name, "labels": checked}
        return row

    # --- actions -------------------------------------------------------------------------------------------------

    def action(
        self, command: str, *resources: tuple[str, int], work: Work | None = None, server: Row | None = None
    ) -> Row:
        """Begin an action and return it as it is at its start.

        Args:
            command: Its name in the API.
            resources: Type and id of the resources that it is about.
            work: Runs in its own thread; may raise. Without it the action is already complete.
            server: A server that is locked meanwhile.
        """
        row = self.add(
            "actions",
            {
                "command": command,
                "status": "running",
                "progress": 0,
                "started": now(),
                "finished": None,
                "resources": [{"type": kind, "id": number} for kind, number in resources],
                "error": None,
            },
        )
        seen = copy.deepcopy(row)
        if work is None:
            self._finish(row)
            return seen
        if server is not None:
            server["_actions"] += 1
        threading.Thread(target=self._run, args=(row, work, server), daemon=True).start()
        return seen

    def unlocked(self, server: Row) -> Row:
        """The server, if no action is running on it.

        Raises:
            ApiError: `locked`.
        """
        if server["_actions"]:
            raise ApiError("locked", "cannot perform operation because server is locked")
        return server

    def _run(self, row: Row, work: Work, server: Row | None) -> None:
        error: str | None = None
        try:
            work()
        except (ApiError, LabError, OSError) as failed:
            error = str(failed)
        except Exception as failed:  # an action must never stay unfinished
            traceback.print_exc()
            error = repr(failed)
        if error:
            print(f"action {row['id']} {row['command']} failed: {error}", flush=True)
        with self.lock:
            self._finish(row, error)
            if server is not None:
                server["_actions"] -= 1

    @staticmethod
    def _finish(row: Row, message: str | None = None) -> None:
        row |= {"status": "error" if message else "success", "progress": 100, "finished": now()}
        row["error"] = {"code": "action_failed", "message": message} if message else None


def shown(row: Row) -> Row:
    """A resource without the emulator's internal fields."""
    return {key: value for key, value in row.items() if not key.startswith("_")}
