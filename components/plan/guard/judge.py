"""The guard's decision about one update."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import Problem
from . import migration, restore
from .change import Change
from .machine_replacement import aligned
from .rules import Spelled, check
from .slow import notes
from .state import NOTHING, State, following
from .steps import Step, bootstrap, restored, steps
from .updates import described, updates


@dataclass(frozen=True)
class Verdict:
    """The guard's decision about an update."""

    problems: tuple[Problem, ...]
    """Why one update cannot make the change; empty: it can."""
    overridden: bool
    """The update proceeds in spite of problems, because its override was given."""
    override: str
    """The token that overrides this refusal; empty without a refusal, and for a change that cannot be made at all."""
    updates: tuple[str, ...]
    """What to set in each of the updates that together make the change; empty: none are known or needed."""
    steps: tuple[Step, ...]
    """The steps of an accepted update; empty when nothing changes that the guard knows of."""
    chain: tuple[str, ...]
    """The order in which members converge."""
    state: State
    """What the next update is compared with if this one succeeds."""
    notes: tuple[str, ...] = ()
    """What a reader of the steps should know of the members' machines; empty without steps."""
    unused_override: bool = False
    """An override was given, but nothing is refused."""
    compared: bool = True
    """Whether what the last update left could be read; False: only the machines can refuse."""

    @property
    def refused(self) -> bool:
        """Whether the update must not proceed."""
        return bool(self.problems) and not self.overridden


def judge(
    previous: State | None,
    wanted: State,
    override: str = "",
    spelled: Spelled = str,
    *,
    acknowledge: Collection[str] = (),
    measured: Mapping[str, Any] = NOTHING,
) -> Verdict:
    """Decides about an update.

    Args:
        previous: what the last successful update left; None before the first.
        override: the token that the user gave; empty: none.
        acknowledge: what is accepted of slow machines, as in `plan.acknowledge`.
        measured: member -> what its machine measured, as in `applied.MEASURED`.
    """
    if previous is None and wanted.migration:
        previous = migration.unmigrated(wanted)
    if previous is None:
        return Verdict(
            problems=(),
            overridden=False,
            override="",
            updates=(),
            steps=tuple(
                restored(wanted, acknowledge, wanted.members) if wanted.restored else bootstrap(wanted, acknowledge)
            ),
            chain=tuple(wanted.members),
            state=following(None, wanted, ()),
            unused_override=bool(override),
        )
    previous, wanted = aligned(previous, restore.remembered(previous, wanted))
    change = Change(previous, wanted)
    problems = tuple(check(change, spelled))
    planned = steps(change, acknowledge)
    # At the end there would be no cluster: not even an override leads there.
    nobody = bool(planned) and not planned[-1].voters
    token = _token(previous, wanted) if problems and not nobody else ""
    overridden = bool(token) and override == token
    refused = bool(problems) and not overridden
    way = described(previous, updates(previous, wanted), spelled) if refused else []
    return Verdict(
        problems=problems,
        overridden=overridden,
        override=token,
        updates=tuple(way),
        steps=() if refused else tuple(planned),
        chain=tuple(change.chain),
        state=following(previous, wanted, [str(problem) for problem in problems]),
        notes=tuple(notes(change, acknowledge, measured)) if planned and not refused else (),
        unused_override=bool(override) and not problems,
    )


def _token(previous: State, wanted: State) -> str:
    """Valid for this change only: its serial number is never used again."""
    # Identities are unknown before the platform has declared its machines, and the token must not depend on that.
    ends = [replace(state, identities={}).content() for state in (previous, wanted)]
    text = json.dumps([previous.serial, *ends], sort_keys=True)
    return f"allow-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
