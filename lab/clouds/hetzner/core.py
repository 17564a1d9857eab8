"""The emulated account: its resources, kept in one file, and the actions on them."""

import copy
import datetime
import ipaddress
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...errors import LabError
from ...lab import Lab
from . import labels
from .errors import ApiError, invalid, missing, not_unique

Row = dict[str, Any]
Work = Callable[[Callable[[int], None]], None]
KINDS = ("networks", "ssh_keys", "servers", "placement_groups", "firewalls", "volumes", "primary_ips", "actions")
TITLES = {kind: kind.removesuffix("s").replace("_", " ") for kind in KINDS}
_FIRST_ID = 1001
_ACTIONS_KEPT = 1000


def now() -> str:
    """This moment, as the API writes it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@dataclass
class Request:
    """One request: numbers from its path, its query, its JSON."""

    path: tuple[int, ...]
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


class Cloud:
    """The account in a lab. Every use holds `lock`; what takes time is done in actions, which do not."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.lock = threading.RLock()
        self._file = lab.dir / "hetzner" / "state.json"
        self._file.parent.mkdir(exist_ok=True)
        self._state: dict[str, Any] = {"next": _FIRST_ID, "public": "", **{kind: {} for kind in KINDS}}
        if self._file.exists():
            self._state.update(json.loads(self._file.read_text()))
        for row in self.rows("servers"):
            row["_actions"] = 0
        for row in self.rows("actions"):
            if row["status"] == "running":  # the emulator ended meanwhile
                self._finish(row, "server_error", "the action was interrupted")

    # --- resources -----------------------------------------------------------------------------------------------

    @property
    def public(self) -> ipaddress.IPv4Network:
        """The range of public addresses."""
        return ipaddress.IPv4Network(self._state["public"])

    @public.setter
    def public(self, network: ipaddress.IPv4Network) -> None:
        self._state["public"] = str(network)
        self.save()

    @property
    def public_known(self) -> bool:
        """Whether `public` was chosen already."""
        return bool(self._state["public"])

    def number(self) -> int:
        """A number that nothing had before."""
        self._state["next"] += 1
        return int(self._state["next"]) - 1

    def rows(self, kind: str) -> list[Row]:
        """All resources of a kind, by id."""
        return sorted(self._state[kind].values(), key=lambda row: int(row["id"]))

    def find(self, kind: str, number: object) -> Row | None:
        """The resource of that id."""
        found: Row | None = self._state[kind].get(str(number))
        return found

    def row(self, kind: str, number: object) -> Row:
        """The resource of that id.

        Raises:
            ApiError: `not_found`.
        """
        found = self.find(kind, number)
        if found is None:
            raise missing(TITLES[kind], number)
        return found

    def referred(self, kind: str, request: Request, name: str) -> Row:
        """The resource whose id a field of a request has; `not_found` if there is none."""
        return self.row(kind, request.get(name, int, required=True))

    def add(self, kind: str, row: Row) -> Row:
        """Put in a new resource, under a new id unless it has one."""
        row.setdefault("id", self.number())
        self._state[kind][str(row["id"])] = row
        return row

    def remove(self, kind: str, row: Row) -> None:
        """Take a resource away."""
        self._state[kind].pop(str(row["id"]), None)

    def save(self) -> None:
        """Write everything down."""
        new = self._file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(self._state, indent=1))
        new.replace(self._file)

    def free_name(self, kind: str, name: str, but: Row | None = None) -> None:
        """Refuse a name that another resource of the kind has.

        Raises:
            ApiError: `uniqueness_error`.
        """
        if any(row["name"] == name and row is not but for row in self.rows(kind)):
            raise not_unique("name", f"{TITLES[kind]} name is already used")

    def update(self, kind: str, request: Request, check_name: Callable[[str], object] = lambda _: None) -> Row:
        """What PUT does to every kind: another name, other labels."""
        row = self.row(kind, request.path[0])
        name = request.get("name", str)
        new_labels = request.body.get("labels")
        checked = labels.check(new_labels) if new_labels is not None else None
        if name is not None and name != row["name"]:
            check_name(name)
            self.free_name(kind, name, but=row)
            row["name"] = name
        if checked is not None:
            row["labels"] = checked
        return row

    # --- actions -------------------------------------------------------------------------------------------------

    def action(
        self, command: str, *resources: tuple[str, int], work: Work | None = None, server: Row | None = None
    ) -> Row:
        """Begin an action and return it as it is at its beginning.

        Args:
            command: Its name in the API.
            resources: Type and id of what it is about.
            work: What it does, in a thread of its own; it may raise. Without it all was done already.
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
        for old in self.rows("actions")[:-_ACTIONS_KEPT]:
            if old["status"] != "running":
                self.remove("actions", old)
        seen = copy.deepcopy(row)
        if server is not None:
            server["_actions"] = server.get("_actions", 0) + 1
        if work is None:
            self._finish(row)
            self._unlock(server)
        else:
            threading.Thread(target=self._run, args=(row, work, server), daemon=True).start()
        return seen

    def unlocked(self, server: Row) -> Row:
        """The server, when no action is on it.

        Raises:
            ApiError: `locked`.
        """
        if server.get("_actions", 0):
            raise ApiError("locked", "cannot perform operation because server is locked")
        return server

    def _run(self, row: Row, work: Work, server: Row | None) -> None:
        def progress(percent: int) -> None:
            with self.lock:
                row["progress"] = percent

        error: tuple[str, str] | None = None
        try:
            work(progress)
        except ApiError as refused:
            error = (refused.code, str(refused))
        except (LabError, OSError) as failed:
            error = ("action_failed", str(failed))
        except Exception as failed:  # an action must never stay unfinished
            traceback.print_exc()
            error = ("action_failed", repr(failed))
        if error:
            print(f"action {row['id']} {row['command']} failed: {error[1]}", flush=True)
        with self.change():
            self._finish(row, *(error or ()))
            self._unlock(server)

    @staticmethod
    def _finish(row: Row, code: str | None = None, message: str | None = None) -> None:
        row["status"] = "error" if code else "success"
        row["progress"] = 100
        row["finished"] = now()
        row["error"] = {"code": code, "message": message} if code else None

    @staticmethod
    def _unlock(server: Row | None) -> None:
        if server is not None:
            server["_actions"] -= 1

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the lock, and write everything down at the end."""
        with self.lock:
            yield
            self.save()


def shown(row: Row) -> Row:
    """A resource without what only the emulator knows."""
    return {key: value for key, value in row.items() if not key.startswith("_")}
