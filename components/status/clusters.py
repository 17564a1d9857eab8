"""Clusters in the outputs of a program, by their form.

`EtcdCluster.applied` is recognised under any name and at any depth. `certificates` and `backup` beside it, in the same
object, belong to the same cluster.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..plan.applied import CHECKED, CLIENTS, EARLY_RENEWAL
from ..plan.guard.state import State, read_state

_NAME = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
_KEY = re.compile(r"[\w-]{1,100}", re.ASCII)
_EARLY_RENEWAL_HOURS = 720
"""The default of the components; an earlier program did not record it."""
_MOST_HOURS = 100 * 366 * 24
"""A century. Other values are not from this program, and are no times."""


@dataclass(frozen=True)
class Stored:
    """The last snapshot that is kept elsewhere, as the last health check found it."""

    taken: datetime | None = None
    """None: there was none."""
    proved: datetime | None = None
    """The last restore that was proved; None: there was none."""
    failed: datetime | None = None
    """A drill that failed after it."""


@dataclass(frozen=True)
class Found:
    """A cluster, as an update left it."""

    where: str
    """The place in the outputs, as in `clusters.production`; empty: the outputs themselves."""
    name: str
    state: State | None
    """None: written in another format, by another version of this program."""
    checked: datetime | None = None
    """When the last health check found all members healthy; None: not recorded."""
    certificates: Mapping[str, datetime] = field(default_factory=dict)
    """Certificate -> expiry."""
    all_certificates: bool = False
    """Whether these are all. If not, only the certificates of clients are known."""
    early_renewal_hours: int = _EARLY_RENEWAL_HOURS
    clients: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    """As `node.service.client_certificates.Known`."""
    backup: Stored | None = None
    """None: not in the outputs."""


def find(outputs: Mapping[str, Any]) -> list[Found]:
    """The clusters in a stack's outputs, in the order of their places."""
    return list(_find(outputs, ""))


def _find(value: Any, where: str) -> Iterator[Found]:
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _find(each, f"{where}[{number}]")
    if not isinstance(value, Mapping):
        return
    own = [key for key, each in value.items() if _is_applied(each)]
    for key in own:
        # With several clusters in one object, nothing says whose the rest is.
        beside, place = (value, where) if len(own) == 1 else ({}, _below(where, key))
        yield _cluster(place, value[key], beside)
    for key, each in value.items():
        if key not in own:
            yield from _find(each, _below(where, key))


def _below(where: str, key: str) -> str:
    shown = key if _KEY.fullmatch(key) else "?"
    return f"{where}.{shown}" if where else shown


def _is_applied(value: Any) -> bool:
    if not isinstance(value, Mapping) or not {"format", "cluster", "version", "order", "serial"} <= value.keys():
        return False
    # These are printed.
    texts = [value["cluster"], value["version"]]
    if state := read_state(value):
        texts += [*state.members, *state.trusted, *state.peer_trusted, state.issuer, state.peer_issuer]
    return all(isinstance(text, str) and _NAME.fullmatch(text) for text in texts)


def _cluster(where: str, applied: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    clients = _clients(applied.get(CLIENTS))
    given = beside.get("certificates")
    if isinstance(given, Mapping):
        certificates = {name: at for name, text in given.items() if _NAME.fullmatch(name) and (at := _time(text))}
    else:
        certificates = {name: at for name, issued in clients.items() if (at := _time(issued[0]["expires"]))}
    hours = applied.get(EARLY_RENEWAL)
    backup = beside.get("backup")
    return Found(
        where,
        applied["cluster"],
        read_state(applied),
        _time(applied.get(CHECKED)),
        certificates,
        isinstance(given, Mapping),
        int(hours) if isinstance(hours, int | float) and 0 <= hours < _MOST_HOURS else _EARLY_RENEWAL_HOURS,
        clients,
        _stored(backup) if isinstance(backup, Mapping) else None,
    )


def _clients(value: Any) -> dict[str, list[dict[str, str]]]:
    if not isinstance(value, Mapping):
        return {}
    rows = {
        name: [
            {"expires": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "issuer": each["issuer"]}
            for each in issued
            if isinstance(each, Mapping)
            and (at := _time(each.get("expires")))
            and isinstance(each.get("issuer"), str)
            and _NAME.fullmatch(each["issuer"])
        ]
        for name, issued in value.items()
        if _NAME.fullmatch(name) and isinstance(issued, list)
    }
    return {name: issued for name, issued in rows.items() if issued}


def _stored(backup: Mapping[str, Any]) -> Stored:
    def at(*path: str) -> datetime | None:
        value: Any = backup
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return _time(value)

    return Stored(at("taken"), at("drill", "proved", "at"), at("drill", "failed", "at"))


def _time(text: Any) -> datetime | None:
    """The time in RFC 3339; None if it is none."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
