"""What the outputs and the history of a stack mean at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..node.service.client_certificates import replaced
from ..plan.migration import DONE, PHASES
from ..review.markdown import headline
from ..review.preview import Preview
from ..review.review import FAILED, NOTHING, review
from .backend import Listed, Update
from .clusters import Found

EXPIRING, UNHEALTHY, PENDING, BACKUP = "expiring", "unhealthy", "pending", "backup"
CONDITIONS = (EXPIRING, UNHEALTHY, PENDING, BACKUP)
"""What `--fail-on` accepts."""
_HISTORY_SECONDS = 60
"""The state of a stack is written at most this long after the end of the update that its history has."""


@dataclass(frozen=True)
class Expiry:
    """What expires."""

    names: tuple[str, ...]
    """All that expire within a day of the first, as in the output `certificates`: `ca-1`, `etcd-1/server`, ..."""
    at: str
    """When the first does."""
    days: int
    """Whole days that are left; negative: it has expired."""


@dataclass(frozen=True)
class Cluster:
    """A cluster. `external-etcd status --format json` prints these fields. Times are RFC 3339, UTC."""

    where: str
    """Its place in the outputs; empty: the outputs themselves."""
    name: str
    version: str
    """Release of etcd."""
    members: tuple[str, ...]
    checked: str
    """When the last health check found all members healthy; empty: not recorded."""
    expires: Expiry | None
    """What expires next; None: not in the outputs."""
    renews: tuple[str, ...]
    """Certificates that the next update renews."""
    backup: bool
    """Whether snapshots are in the outputs."""
    snapshot: str
    """When the last stored snapshot was taken, as the last health check found it; empty: there was none."""
    proved: str
    """When a restore was last proved."""
    failed_drill: str
    """When a drill failed after that."""
    notes: tuple[str, ...]
    """What a person should know or do."""
    conditions: tuple[str, ...]
    """Those of `CONDITIONS` that hold."""


@dataclass(frozen=True)
class Stack:
    """A stack with its clusters. `external-etcd status --format json` prints these fields."""

    name: str
    error: str
    """Why it could not be read; empty: it was."""
    last_update: str
    """When the last recorded update ended; empty: it runs, or there was none."""
    unfinished: str
    """Why the machines may not be as the outputs say: the next update completes it. Empty: they should be."""
    preview: str
    """The headline of the preview's review; empty: there was no preview."""
    clusters: tuple[Cluster, ...]
    conditions: tuple[str, ...]
    """Those of `CONDITIONS` that hold for the stack or for one of its clusters."""


def stack(
    listed: Listed,
    found: Sequence[Found],
    last: Update | None,
    preview: Preview | None,
    *,
    now: datetime,
    within: timedelta,
) -> Stack:
    """The facts about a stack.

    Args:
        listed: the stack in the list.
        found: the clusters in its outputs.
        last: the last update in its history.
        preview: a preview of the next update, if there is one.
        now: the present time.
        within: what expires within this time is `expiring`.
    """
    clusters = tuple(_cluster(each, now, within) for each in found)
    unfinished = _unfinished(listed, last)
    seen = review(preview, listed.name) if preview is not None else None
    holds = {name for each in clusters for name in each.conditions}
    if unfinished:
        holds |= {UNHEALTHY, PENDING}
    if seen is not None and seen.verdict != NOTHING:
        holds.add(PENDING)
    return Stack(
        listed.name,
        f"the preview failed; see `pulumi preview --stack {listed.name}`" if seen and seen.verdict == FAILED else "",
        _text(last.ended) if last else "",
        unfinished,
        headline(seen) if seen is not None else "",
        clusters,
        tuple(name for name in CONDITIONS if name in holds),
    )


def unreadable(name: str, error: str) -> Stack:
    """A stack that could not be read."""
    return Stack(name, error, "", "", "", (), ())


def _unfinished(listed: Listed, last: Update | None) -> str:
    """Why the machines may not be as the outputs say; empty if they should be."""
    if listed.in_progress or (last and last.result == "in-progress"):
        return "an update is in progress"
    if last and last.result == "failed":
        kind = last.kind if last.kind in ("update", "refresh", "destroy") else "update"
        return f"the last {kind} failed, {_minute(last.ended)}"
    if listed.changed is None or not listed.resources:
        return ""
    # A killed update is in no history, and one that runs is only in that of Pulumi Cloud. Other commands that write the
    # state are not, either.
    if last is None or (last.ended and listed.changed > last.ended + timedelta(seconds=_HISTORY_SECONDS)):
        return f"in progress, interrupted, or its state was edited, {_minute(listed.changed)}"
    return ""


def _cluster(found: Found, now: datetime, within: timedelta) -> Cluster:
    state = found.state
    at = min(found.certificates.values(), default=None)
    expires = None
    if at is not None:
        names = tuple(sorted(name for name, end in found.certificates.items() if end < at + timedelta(days=1)))
        expires = Expiry(names, _text(at), (at - now).days)
    window = now + timedelta(hours=found.early_renewal_hours)
    renews = tuple(each for each, end in found.certificates.items() if end < window and not _is_ca(each, found))
    backup = found.backup
    applies = {
        EXPIRING: at is not None and at < now + within,
        UNHEALTHY: state is None,
        PENDING: bool(renews),
        BACKUP: backup is not None and (backup.taken is None or backup.failed is not None),
    }
    return Cluster(
        found.where,
        found.name,
        state.version if state else "",
        tuple(state.members) if state else (),
        _text(found.checked),
        expires,
        renews,
        backup is not None,
        _text(backup.taken) if backup else "",
        _text(backup.proved) if backup else "",
        _text(backup.failed) if backup else "",
        tuple(_notes(found, now, now + within)),
        tuple(name for name in CONDITIONS if applies[name]),
    )


def _is_ca(name: str, found: Found) -> bool:
    return name.startswith("ca-") and "/" not in name and name not in found.clients


def _notes(found: Found, now: datetime, soon: datetime) -> Iterator[str]:
    state = found.state
    if state is None:
        yield "it was last updated by another version of this program, whose output `applied` cannot be read"
        return
    for name, at in found.certificates.items():
        if _is_ca(name, found) and at < soon:
            authority = name.removeprefix("ca-")
            yield f'the CA {authority} expires {_minute(at)}: replace it (docs/operations.md, "Replace the CA")'
    yield from replaced(found.clients, now)
    for whose, trusted, issuer in (
        ("", state.trusted, state.issuer),
        *([("peer ", state.peer_trusted, state.peer_issuer)] if state.peer_trusted != state.trusted else []),
    ):
        if len(trusted) > 1:
            yield f"it trusts the {whose}CAs {', '.join(trusted)}, and {issuer} issues: drop a CA that is replaced"
    if state.migration in PHASES and state.migration != DONE:
        yield f"the migration is in the phase `{state.migration}` (docs/migration.md)"
    if found.backup and found.backup.taken is None:
        yield "no snapshot was stored at the last health check (docs/backups.md)"
    if found.backup and found.backup.failed:
        yield f"a drill of the restore failed {_minute(found.backup.failed)}; `etcd-node status` on a member says why"
    if not found.all_certificates:
        yield "its outputs have no `certificates`, so only those of clients are known"


def _minute(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" if at else ""


def _text(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if at else ""
