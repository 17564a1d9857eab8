"""A restore from a snapshot in the guard: it is made once, and alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ..errors import Problem, shown
from .change import Change
from .state import OF_DRIFT, State

_MAY_CHANGE = (
    *("restored", "restored_from", "restore_listed", "restores"),
    # All members start anew, so these need no order. Machines whose data are lost may be others.
    *("version", "flags", "identities"),
    *("serial", "database_bytes", "overridden"),
    # What the last look has found waits for no other update.
    *OF_DRIFT,
)


def remembered(before: State, wanted: State) -> State:
    """The desired state; a configuration without a restore keeps the last one."""
    if wanted.restored:
        return wanted
    return replace(wanted, restored=before.restored, restored_from=before.restored_from)


def check_restored(change: Change, spelled: Callable[[str], str]) -> Iterator[Problem]:
    """Why this restore must not follow, or not together with what else changes."""
    before, after, key = change.before, change.after, spelled("restore")
    more = f"To restore again, set it to {before.restored + 1}; if not, remove {key}"
    if after.restored < before.restored:
        rule = f"Each restore has a higher number; the last one had {before.restored}"
        yield Problem(f"{key}.number", str(after.restored), rule, more)
    elif after.restored == before.restored and after.restored_from != before.restored_from:
        rule = f"The restore {before.restored} is complete, from {before.restored_from}, and is made once"
        yield Problem(f"{key}.number", str(after.restored), rule, f"{more} ({key}.from: {shown(after.restored_from)})")
    elif change.restores:
        others = [name for name in vars(after) if name not in _MAY_CHANGE]
        changed = [name for name in others if getattr(before, name) != getattr(after, name)]
        if list(before.members) != list(after.members) and "members" not in changed:
            changed.append("members")
        if changed:
            yield Problem(
                key,
                after.restored_from,
                f"Together with a restore nothing else can change; here also: "
                f"{', '.join(spelled(name) for name in changed)}",
                "Set it back; change it in the next update",
            )
