"""The guard's decision about one update."""

import hashlib
import json
from dataclasses import dataclass, replace

from ..errors import Problem
from .change import Change
from .origins import aligned
from .rules import Spelled, check
from .state import State, following
from .steps import Step, bootstrap, steps
from .updates import described, updates


@dataclass(frozen=True)
class Verdict:
    """What the guard says of an update."""

    problems: tuple[Problem, ...]
    """Why it cannot be made like this; empty: it can."""
    overridden: bool
    """It is made all the same, because the override for exactly this update was given."""
    override: str
    """What overrides the refusal of exactly this update; empty without a refusal."""
    updates: tuple[str, ...]
    """What to set in each of the updates that lead there instead; empty: there is no such way, or no need."""
    steps: tuple[Step, ...]
    """The steps, when it is made; empty when nothing changes that the guard knows of."""
    chain: tuple[str, ...]
    """The order in which members are converged."""
    state: State
    """What the next update is told, when this one has succeeded."""
    unused_override: bool = False
    """An override was given for which there is no refusal."""
    compared: bool = True
    """Whether what the last update left could be read; False: the machines alone refuse."""

    @property
    def refused(self) -> bool:
        """Whether the update is not to be made."""
        return bool(self.problems) and not self.overridden


def judge(previous: State | None, wanted: State, override: str = "", spelled: Spelled = str) -> Verdict:
    """Decides about an update.

    Args:
        previous: what the last update left that succeeded; None before the first.
        wanted: what is wanted.
        override: what the user gave to override a refusal; empty: nothing.
        spelled: the user's spelling of an argument of `EtcdCluster`.
    """
    if previous is None:
        return Verdict(
            problems=(),
            overridden=False,
            override="",
            updates=(),
            steps=tuple(bootstrap(wanted)),
            chain=tuple(wanted.members),
            state=following(None, wanted, ()),
            unused_override=bool(override),
        )
    previous, wanted = aligned(previous, wanted)
    change = Change(previous, wanted)
    problems = tuple(check(change, spelled))
    token = _token(previous, wanted) if problems else ""
    overridden = bool(problems) and override == token
    way = described(previous, updates(previous, wanted), spelled) if problems and not overridden else []
    return Verdict(
        problems=problems,
        overridden=overridden,
        override=token,
        updates=tuple(way),
        steps=tuple(steps(change)) if not problems or overridden else (),
        chain=tuple(change.chain),
        state=following(previous, wanted, [str(problem) for problem in problems]),
        unused_override=bool(override) and not problems,
    )


def _token(previous: State, wanted: State) -> str:
    """Good for this change alone: the serial number of the state before it never comes again."""
    # Which machines there are is not known before the platform has declared them: the same text before and after that.
    ends = [replace(state, identities={}).content() for state in (previous, wanted)]
    text = json.dumps([previous.serial, *ends], sort_keys=True)
    return f"allow-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
